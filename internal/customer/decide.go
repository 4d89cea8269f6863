package customer

import "time"

// resolution is the finest time a customer's history tells apart: what
// PostgreSQL's timestamptz keeps.
const resolution = time.Microsecond

// stamps gives the events of one decision their times: strictly increasing,
// also against a clock that stands still or goes back, so that "as of
// updated_at" names exactly one version.
type stamps struct{ next time.Time }

func (s State) stampsFrom(now time.Time) *stamps {
	next := now.UTC().Truncate(resolution)
	if s.data.Version > 0 {
		if after := s.data.UpdatedAt.UTC().Truncate(resolution).Add(resolution); next.Before(after) {
			next = after
		}
	}
	return &stamps{next: next}
}

func (st *stamps) at() At {
	t := st.next
	st.next = t.Add(resolution)
	return At{Time: t}
}

// mustLive refuses commands that need a customer to work on: active or
// suspended, for a suspended customer can be changed.
func (s State) mustLive() error {
	switch s.data.Status {
	case StatusActive, StatusSuspended:
		return nil
	case StatusDeleted:
		return ErrDeleted
	case StatusErased:
		return ErrErased
	default:
		return ErrNotFound
	}
}

// mustNotBeErased refuses what a deleted customer still takes.
func (s State) mustNotBeErased() error {
	switch s.data.Status {
	case StatusActive, StatusSuspended, StatusDeleted:
		return nil
	case StatusErased:
		return ErrErased
	default:
		return ErrNotFound
	}
}

func tooMany(pointer, detail string) Violations {
	return Violations{{Pointer: pointer, Code: CodeTooMany, Detail: detail}}
}
