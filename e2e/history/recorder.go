package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// syncEvery is how far apart the file is put on disk: what a run that ends
// with the machine may have lost, and small beside the faults it injects.
const syncEvery = 50 * time.Millisecond

// Recorder writes a history down while it happens: one line when an op begins,
// before anything of it is sent, and one when it has ended. Each line is with
// the kernel when Begin or End returns, so a killed run keeps it. It keeps no
// op in memory. Its methods may be called at the same time.
type Recorder struct {
	began time.Time
	path  string

	mu     sync.Mutex
	file   *os.File
	last   int64 // ID given last
	dirty  bool
	err    error // the first there was
	closed bool

	stop, stopped chan struct{}
}

// New begins a history in a file that must not exist yet, so that no run is
// taken for another.
func New(path string) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin a history: %w", err)
	}
	r := &Recorder{began: time.Now(), path: path, file: file, stop: make(chan struct{}), stopped: make(chan struct{})}
	go r.syncing()
	return r, nil
}

// Began is the moment that all times of the history count from.
func (r *Recorder) Began() time.Time { return r.began }

// Now is how many nanoseconds ago the run began, by the monotonic clock.
func (r *Recorder) Now() int64 { return int64(time.Since(r.began)) }

// Begin gives op its ID and Call and writes it down. IDs follow Call.
func (r *Recorder) Begin(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	op.ID, op.Call = r.last, r.Now()
	op.Return, op.Outcome = 0, ""
	r.write(op)
}

// End writes op down as it ended. Return is now unless it is set, and the
// outcome is Unknown unless it is.
func (r *Recorder) End(op *Op) {
	if op.Return == 0 {
		op.Return = r.Now()
	}
	if op.Outcome == "" {
		op.Outcome = Unknown
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(op)
}

// write is called with mu held. After a line that could not be written whole
// there is no other: it would go on in the middle of that one.
func (r *Recorder) write(op *Op) {
	if r.err != nil {
		return
	}
	if r.closed {
		r.err = fmt.Errorf("history: op %d was written after the end", op.ID)
		return
	}
	line, err := json.Marshal(op)
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if err != nil {
		r.err = fmt.Errorf("history: write op %d: %w", op.ID, err)
		return
	}
	r.dirty = true
}

func (r *Recorder) syncing() {
	defer close(r.stopped)
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		dirty := r.dirty
		r.dirty = false
		r.mu.Unlock()
		if !dirty {
			continue
		}
		// Without the lock: nobody is to wait for the disk.
		if err := r.file.Sync(); err != nil {
			r.mu.Lock()
			r.err = errors.Join(r.err, fmt.Errorf("history: %w", err))
			r.mu.Unlock()
		}
	}
}

// Err is why the history is not whole, or nil.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close puts everything on disk and ends the history. Calling it again does
// nothing; it answers Err.
func (r *Recorder) Close() error {
	r.mu.Lock()
	was := r.closed
	r.closed = true
	r.mu.Unlock()
	if !was {
		close(r.stop)
		<-r.stopped
		err := errors.Join(r.file.Sync(), r.file.Close())
		r.mu.Lock()
		if err != nil {
			r.err = errors.Join(r.err, fmt.Errorf("end the history: %w", err))
		}
		r.mu.Unlock()
	}
	return r.Err()
}

// Ops is the history so far, read back from the file.
func (r *Recorder) Ops() ([]Op, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	return Load(r.path)
}
