package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// encodedRows are rows of one table as COPY's binary format has them, which is how
// the server sends them back, too: what was written can be told from what is
// there without decoding either.
type encodedRows struct {
	b    []byte
	ends []int // of the rows
}

const (
	copySignature = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00" // no flags, nothing more in the header
	copyTrailer   = "\xff\xff"
)

var errCopyFormat = errors.New("rows are not in COPY's binary format")

func (r *encodedRows) begin(fields int) { r.b = binary.BigEndian.AppendUint16(r.b, uint16(fields)) } //nolint:gosec // some ten
func (r *encodedRows) end()             { r.ends = append(r.ends, len(r.b)) }
func (r *encodedRows) length(n int)     { r.b = binary.BigEndian.AppendUint32(r.b, uint32(n)) } //nolint:gosec // texts of an event
func (r *encodedRows) null()            { r.b = append(r.b, 0xff, 0xff, 0xff, 0xff) }

func (r *encodedRows) uuid(id [16]byte) {
	r.length(len(id))
	r.b = append(r.b, id[:]...)
}

func (r *encodedRows) text(s string) {
	r.length(len(s))
	r.b = append(r.b, s...)
}

func (r *encodedRows) json(v []byte) {
	r.length(len(v))
	r.b = append(r.b, v...)
}

func (r *encodedRows) smallint(n int16) {
	r.length(2)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(n)) //nolint:gosec // the bits are what counts
}

func (r *encodedRows) integer(n int32) {
	r.length(4)
	r.b = binary.BigEndian.AppendUint32(r.b, uint32(n)) //nolint:gosec // the bits are what counts
}

func (r *encodedRows) bigint(n int64) {
	r.length(8)
	r.b = binary.BigEndian.AppendUint64(r.b, uint64(n)) //nolint:gosec // the bits are what counts
}

func (r *encodedRows) timestamp(t time.Time) { r.bigint(t.UnixMicro() - year2000) }

// year2000 is what the server counts microseconds from, since 1970.
const year2000 = 946_684_800_000_000

// textOrNull is null for the empty text.
func (r *encodedRows) textOrNull(s string) {
	if s == "" {
		r.null()
		return
	}
	r.text(s)
}

// jsonOrNull is null for none.
func (r *encodedRows) jsonOrNull(v []byte) {
	if len(v) == 0 {
		r.null()
		return
	}
	r.json(v)
}

// jsonb writes what appendTo appends, in the form the server has it in.
func (r *encodedRows) jsonb(appendTo func([]byte) ([]byte, error)) error {
	r.length(0)
	at := len(r.b)
	var err error
	if r.b, err = appendTo(append(r.b, 1)); err != nil { // the format's version
		return err
	}
	r.measure(at)
	return nil
}

// measure sets the length of what was written from at on.
func (r *encodedRows) measure(at int) {
	binary.BigEndian.PutUint32(r.b[at-4:], uint32(len(r.b)-at)) //nolint:gosec // texts of an event
}

// The server's numbers of the types of elements.
const (
	oidText    = 25
	oidInteger = 23
)

// array begins a list of n elements without nulls and returns what measure is
// to be called with at its end.
func (r *encodedRows) array(element uint32, n int) (at int) {
	r.length(0)
	at = len(r.b)
	dimensions := uint32(1)
	if n == 0 {
		dimensions = 0
	}
	for _, v := range []uint32{dimensions, 0, element} {
		r.b = binary.BigEndian.AppendUint32(r.b, v)
	}
	if n > 0 {
		r.length(n)
		r.length(1) // the first one's index
	}
	return at
}

// reader is the rows as COPY reads them.
func (r *encodedRows) reader() io.Reader {
	return io.MultiReader(bytes.NewReader([]byte(copySignature)), bytes.NewReader(r.b), bytes.NewReader([]byte(copyTrailer)))
}

// each hands over the rows.
func (r *encodedRows) each(row func([]byte)) {
	begin := 0
	for _, end := range r.ends {
		row(r.b[begin:end])
		begin = end
	}
}

// rowSplitter is written to by COPY and hands over its rows, which it may not
// keep.
type rowSplitter struct {
	row   func([]byte) error
	begun bool
	rest  []byte // of a row that is not there whole
}

// Write implements io.Writer.
func (s *rowSplitter) Write(b []byte) (int, error) {
	n := len(b)
	if len(s.rest) > 0 {
		b = append(s.rest, b...)
		s.rest = nil
	}
	if !s.begun && len(b) >= len(copySignature) {
		if string(b[:len(copySignature)]) != copySignature {
			return 0, errCopyFormat
		}
		s.begun, b = true, b[len(copySignature):]
	}
	for s.begun && len(b) > 0 {
		end, ok := rowEnd(b)
		if !ok {
			break
		}
		if end > len(copyTrailer) {
			if err := s.row(b[:end]); err != nil {
				return 0, err
			}
		}
		b = b[end:]
	}
	if len(b) > 0 {
		s.rest = append([]byte(nil), b...) // b is the connection's
	}
	return n, nil
}

// rowEnd is where the first row of b ends, if it does in b.
func rowEnd(b []byte) (end int, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	fields := int16(binary.BigEndian.Uint16(b)) //nolint:gosec // -1 for the end of all
	end = 2
	for range max(0, fields) {
		if len(b) < end+4 {
			return 0, false
		}
		n := int32(binary.BigEndian.Uint32(b[end:])) //nolint:gosec // -1 for null
		end += 4 + int(max(0, n))
	}
	return end, end <= len(b)
}
