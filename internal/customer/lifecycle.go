package customer

import "time"

// A command whose effect is already there is no error and yields no event, so
// that a client may repeat what it is not sure has arrived.

// Suspend decides that the customer is marked as suspended. The reason of a
// suspension in force stays the one it was suspended for.
func (s State) Suspend(reason string, now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if s.data.Status == StatusSuspended {
		return nil, nil
	}
	return []Event{Suspended{At: s.stampsFrom(now).at(), Reason: reason}}, nil
}

// Reinstate decides that a suspension ends.
func (s State) Reinstate(now time.Time) ([]Event, error) {
	if err := s.mustLive(); err != nil {
		return nil, err
	}
	if s.data.Status == StatusActive {
		return nil, nil
	}
	return []Event{Reinstated{At: s.stampsFrom(now).at()}}, nil
}

// Delete decides that the customer is gone from reads, until restored.
func (s State) Delete(now time.Time) ([]Event, error) {
	if err := s.mustNotBeErased(); err != nil {
		return nil, err
	}
	if s.data.Status == StatusDeleted {
		return nil, nil
	}
	return []Event{Deleted{At: s.stampsFrom(now).at()}}, nil
}

// Restore decides that a deletion is undone. That the e-mail and the external
// id are still free is for whoever keeps the claims to see.
func (s State) Restore(now time.Time) ([]Event, error) {
	if err := s.mustNotBeErased(); err != nil {
		return nil, err
	}
	if s.data.Status != StatusDeleted {
		return nil, nil
	}
	return []Event{Restored{At: s.stampsFrom(now).at()}}, nil
}

// Erase decides that the customer is gone for good, whatever state it is in.
// An erased customer stays as it was erased: who asked first, why, and which
// key was destroyed. None of actor, reason and keyID may describe the person.
func (s State) Erase(actor, reason, keyID string, now time.Time) ([]Event, error) {
	switch s.data.Status {
	case StatusErased:
		return nil, nil
	case StatusNone:
		return nil, ErrNotFound
	}
	return []Event{Erased{At: s.stampsFrom(now).at(), Actor: actor, Reason: reason, KeyID: keyID}}, nil
}
