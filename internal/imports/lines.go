package imports

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxLine is how many bytes a line may have without its end.
const MaxLine = 64 << 10

// ErrLineTooLong is the result of a line longer than MaxLine.
var ErrLineTooLong = errors.New("line is longer than 64 KiB")

// Lines is a Source of lines that end with a line feed, the last one perhaps
// without. Blank lines count and give no record. A line that is too long is a
// record with an error, of which no text is kept.
type Lines struct{ physical *physical }

// NewLines reads in, which begins behind line and end of the whole file: zero
// for its beginning.
func NewLines(in io.Reader, line, end int64) *Lines { return &Lines{newPhysical(in, line, end)} }

// Next implements Source.
func (l *Lines) Next() (Record, error) {
	for {
		rec, err := l.physical.next()
		if err != nil || rec.Err != nil {
			return rec, err
		}
		rec.Text = bytes.TrimSuffix(bytes.TrimSuffix(rec.Text, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(rec.Text)) > 0 {
			return rec, nil
		}
	}
}

// physical reads lines as they are, with what ends them.
type physical struct {
	in   *bufio.Reader
	line int64
	end  int64
}

func newPhysical(in io.Reader, line, end int64) *physical {
	return &physical{in: bufio.NewReaderSize(in, MaxLine+len("\r\n")), line: line, end: end}
}

func (p *physical) next() (Record, error) {
	text, err := p.in.ReadSlice('\n')
	p.end += int64(len(text))
	tooLong := false
	for errors.Is(err, bufio.ErrBufferFull) {
		tooLong = true
		text, err = p.in.ReadSlice('\n')
		p.end += int64(len(text))
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return Record{}, err // a line cut off by it is no line
	case err != nil && len(text) == 0 && !tooLong:
		return Record{}, io.EOF
	}
	p.line++
	rec := Record{Line: p.line, Last: p.line, End: p.end}
	if tooLong || len(bytes.TrimRight(text, "\r\n")) > MaxLine {
		rec.Err = ErrLineTooLong
	} else {
		rec.Text = bytes.Clone(text)
	}
	return rec, nil
}
