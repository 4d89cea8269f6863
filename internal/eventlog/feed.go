package eventlog

// Batch is one message of the private feed: consecutive events of one lane.
// Previous is the lane's last position before First (0 for none), so that a
// consumer whose checkpoint is below it knows that it missed something.
type Batch struct {
	Lane        Lane
	Previous    Position
	First, Last Position
	Events      []Sequenced
}
