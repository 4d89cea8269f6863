// Package chaos breaks a running cluster on purpose, from a seed: which fault,
// where, when and for how long. It records what it did, and nothing of what it
// led to; package audit judges that.
package chaos

import "time"

// Record is one fault as it happened. Times are since the run began.
type Record struct {
	Number    int           `json:"number"` // from 1
	Fault     string        `json:"fault"`  // as in kill, pause, purge-queues
	Target    string        `json:"target"` // as in command-api-1, rabbitmq, projector→postgres
	Detail    string        `json:"detail,omitempty"`
	With      int           `json:"with,omitempty"`   // number of the fault that it overlapped with
	Began     time.Duration `json:"began"`            // before it was injected
	Healed    time.Duration `json:"healed"`           // once what was broken had been put back, by both of two that overlap
	Recovered time.Duration `json:"recovered"`        // once all was ready and a new write was read back with its token
	Missed    string        `json:"missed,omitempty"` // what the service should have done and did not, as recovering in time; a violation
	Error     string        `json:"error,omitempty"`  // why it could not be injected or healed; fails the run
}

// Recovery is how long the service needed after the fault had ended.
func (r Record) Recovery() time.Duration { return r.Recovered - r.Healed }
