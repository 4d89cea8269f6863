package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Load reads a history back, in the order of Call. An op that was begun and
// not ended is Pending. The last line may be torn, as a kill leaves it, and is
// left out then; any other line that cannot be read is an error.
func Load(path string) ([]Op, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load a history: %w", err)
	}
	defer file.Close()
	var ops []Op
	in := bufio.NewReaderSize(file, 1<<20)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // what is behind the last line feed was not written whole
		}
		if err != nil {
			return nil, fmt.Errorf("load a history: %w", err)
		}
		if ops, err = add(ops, line); err != nil {
			if _, more := in.Peek(1); errors.Is(more, io.EOF) && json.Unmarshal(line, &Op{}) != nil {
				break
			}
			return nil, fmt.Errorf("history %s, line %d: %w", path, number, err)
		}
	}
	for i := range ops {
		if ops[i].Outcome == "" {
			ops[i].Outcome = Pending
		}
	}
	return ops, nil
}

// add merges one line into ops. As IDs are given in the order of the lines
// that begin an op, the op with ID n is the n-th.
func add(ops []Op, line []byte) ([]Op, error) {
	var op Op
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&op); err != nil {
		return ops, err
	}
	begins := op.Outcome == ""
	switch next := int64(len(ops)) + 1; {
	case begins && op.ID == next:
		return append(ops, op), nil
	case begins || op.ID < 1 || op.ID >= next:
		return ops, fmt.Errorf("op %d where at most op %d can be", op.ID, next)
	case ops[op.ID-1].Outcome != "":
		return ops, fmt.Errorf("op %d ends twice", op.ID)
	}
	ops[op.ID-1] = op
	return ops, nil
}
