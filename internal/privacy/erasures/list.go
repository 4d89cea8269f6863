package erasures

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// Erasure is one line of the list: what the log says of one erased customer.
type Erasure struct {
	CustomerID customer.ID
	Version    customer.Version // of the customer with the erasure
	ErasedAt   time.Time        // UTC, whole microseconds
	Actor      string
	Reason     string
	KeyID      string // of the key that was destroyed
}

// line is an Erasure as it is written. Every field is in every line, so that a
// line of something else is not taken for one.
type line struct {
	CustomerID *uuid.UUID        `json:"customer_id"`
	Version    *customer.Version `json:"version"`
	ErasedAt   *time.Time        `json:"erased_at"`
	Actor      *string           `json:"actor"`
	Reason     *string           `json:"reason"`
	KeyID      *string           `json:"key_id"`
}

// end is the last line of a list. Without it, a list that was cut short between
// two lines would pass for a whole one, and leave customers readable.
type end struct {
	Erasures *int `json:"erasures"`
}

const (
	// maxLine is far above any line: a reason has at most 500 characters.
	maxLine = 64 << 10
	// maxFaults is how many faults are told before a list is given up.
	maxFaults = 20
)

// Writer writes a list.
type Writer struct {
	out   *bufio.Writer
	count int
}

// NewWriter returns a Writer of a list that has nothing yet.
func NewWriter(out io.Writer) *Writer { return &Writer{out: bufio.NewWriter(out)} }

// Write adds an erasure.
func (w *Writer) Write(e Erasure) error {
	w.count++
	return w.put(line{
		CustomerID: &e.CustomerID, Version: &e.Version, ErasedAt: &e.ErasedAt, Actor: &e.Actor, Reason: &e.Reason, KeyID: &e.KeyID,
	})
}

// Close writes how many there are, without which the list is not whole.
func (w *Writer) Close() error {
	if err := w.put(end{Erasures: &w.count}); err != nil {
		return err
	}
	return w.out.Flush()
}

// Count is how many erasures were written.
func (w *Writer) Count() int { return w.count }

func (w *Writer) put(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.out.Write(append(text, '\n'))
	return err
}

// Read reads a whole list, or several one after the other. Of a customer that
// is in it twice the first line counts. If anything in it is not as Writer
// writes it, the error tells in which lines, and there is no list.
func Read(in io.Reader) ([]Erasure, error) {
	var (
		all    []Erasure
		faults []error
		seen   = make(map[customer.ID]struct{})
		number int // of the line
		since  int // lines since the last end
		ended  bool
	)
	fault := func(what string) { faults = append(faults, fmt.Errorf("line %d: %s", number, what)) }
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() && len(faults) < maxFaults {
		number++
		if count, ok := readEnd(lines.Bytes()); ok {
			if count != since {
				fault(fmt.Sprintf("says %d erasures, and %d came before it", count, since))
			}
			since, ended = 0, true
			continue
		}
		since, ended = since+1, false
		e, err := readLine(lines.Bytes())
		if err != nil {
			fault(err.Error())
			continue
		}
		if _, twice := seen[e.CustomerID]; !twice {
			seen[e.CustomerID] = struct{}{}
			all = append(all, e)
		}
	}
	number++
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		fault("is too long")
	case err != nil:
		return nil, fmt.Errorf("read the list: %w", err)
	case len(faults) == maxFaults:
		faults = append(faults, errors.New("further lines were not looked at"))
	case !ended:
		fault("is missing: a list ends with how many erasures it has, and this one was cut short")
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return all, nil
}

func readEnd(text []byte) (int, bool) {
	var e end
	if decode(text, &e) != nil || e.Erasures == nil {
		return 0, false
	}
	return *e.Erasures, true
}

// readLine says what is wrong without quoting the line, which may be anything.
func readLine(text []byte) (Erasure, error) {
	var l line
	if decode(text, &l) != nil {
		return Erasure{}, errors.New("is not an erasure")
	}
	for name, missing := range map[string]bool{
		"customer_id": l.CustomerID == nil, "version": l.Version == nil, "erased_at": l.ErasedAt == nil,
		"actor": l.Actor == nil, "reason": l.Reason == nil, "key_id": l.KeyID == nil,
	} {
		if missing {
			return Erasure{}, fmt.Errorf("has no %s", name)
		}
	}
	switch {
	case *l.CustomerID == uuid.Nil:
		return Erasure{}, errors.New("customer_id names nobody")
	case *l.Version < 1:
		return Erasure{}, errors.New("version is not positive")
	case l.ErasedAt.IsZero():
		return Erasure{}, errors.New("erased_at is no time")
	}
	return Erasure{
		CustomerID: *l.CustomerID, Version: *l.Version, ErasedAt: l.ErasedAt.UTC().Truncate(time.Microsecond),
		Actor: *l.Actor, Reason: *l.Reason, KeyID: *l.KeyID,
	}, nil
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}
