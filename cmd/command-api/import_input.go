package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

const (
	// saveEvery is how often progress is put on disk, and so how much a run
	// that was killed does again. It finds those lines unchanged.
	saveEvery = time.Second
	// fingerprinted is how much of a file's beginning and end tells whether it
	// is still the same.
	fingerprinted = 1 << 20
)

// progress is what FILE.progress says. Rejects is how long the rejects were
// when it was written: what is behind is of lines that will be done again.
type progress struct {
	Fingerprint fingerprint `json:"file"`
	Line        int64       `json:"line"`   // the last one done, with all before it
	Offset      int64       `json:"offset"` // behind it
	Rejects     int64       `json:"rejects_bytes"`
	imports.Summary
}

type fingerprint struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256_of_ends"`
}

// input is a file being imported, with what is written beside it.
type input struct {
	source      imports.Source
	file        *os.File // nil for standard input
	fingerprint fingerprint
	progress    progress
	before      imports.Summary // by the runs before this one

	progressPath string // empty when there is none
	saved        time.Time
	begun        time.Time
	offset       int64 // where this run began

	rejectsPath string
	rejects     *os.File // nil while there are none
	to          *bufio.Writer
	problems    *httpapi.Problems
}

// resume reads what runs before have done.
func (in *input) resume(restart bool) error {
	in.progress.Fingerprint = in.fingerprint
	if in.progressPath == "" || restart {
		return nil
	}
	text, err := os.ReadFile(in.progressPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var had progress
	if err := json.Unmarshal(text, &had); err != nil {
		return fmt.Errorf("%s cannot be read; --restart begins anew, and imports nobody twice: %w", in.progressPath, err)
	}
	if had.Fingerprint != in.fingerprint {
		return fmt.Errorf("the file has changed since line %d of it was imported; --restart imports all of it as it is now, and nobody twice", had.Line)
	}
	in.progress, in.before, in.offset = had, had.Summary, had.Offset
	return nil
}

// checkRejects sees to it that rejects cannot take another file's place, and
// that what the runs before have written is there.
func (in *input) checkRejects() error {
	info, err := os.Stat(in.rejectsPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rejects: %w", err)
	}
	if err != nil {
		info = nil
	}
	file, statErr := in.file.Stat()
	switch {
	case statErr != nil:
		return statErr
	case info != nil && os.SameFile(info, file), in.rejectsPath == in.progressPath:
		return fmt.Errorf("--rejects is %s itself; name another file", in.rejectsPath)
	case info != nil && !info.Mode().IsRegular():
		return fmt.Errorf("--rejects: %s is no regular file; name another", in.rejectsPath)
	case in.progress.Rejects > 0 && (info == nil || info.Size() < in.progress.Rejects):
		return fmt.Errorf("%s does not have the rejects of the runs before; bring it back, or --restart to begin anew: nobody is imported twice", in.rejectsPath)
	}
	return nil
}

// trimRejects brings the rejects to what they were when progress was saved.
func (in *input) trimRejects() error {
	kept := in.progress.Rejects
	if kept == 0 {
		if err := os.Remove(in.rejectsPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := in.openRejects(os.O_RDWR); err != nil {
		return err
	}
	if err := in.rejects.Truncate(kept); err != nil {
		return err
	}
	_, err := in.rejects.Seek(kept, io.SeekStart)
	return err
}

func (in *input) openRejects(flags int) error {
	file, err := os.OpenFile(in.rejectsPath, flags, 0o600)
	if err != nil {
		return err
	}
	in.rejects, in.to = file, bufio.NewWriter(file)
	return nil
}

// reject is one line of the rejects.
type reject struct {
	Line    int64           `json:"line"`
	Problem json.RawMessage `json:"problem"`
	// Original is the line as it was; of CSV, the row as JSON where it could be
	// made; nothing of a line that was too long.
	Original string `json:"original"`
}

// done takes note of results.
func (in *input) done(results []imports.Result) error {
	for i := range results {
		r := &results[i]
		in.progress.Add(r.Status)
		if r.Status == imports.Failed {
			if err := in.reject(r); err != nil {
				return fmt.Errorf("write rejects: %w", err)
			}
		}
	}
	last := results[len(results)-1]
	in.progress.Line, in.progress.Offset = last.Last, last.End
	if time.Since(in.saved) < saveEvery {
		return nil
	}
	return in.save()
}

func (in *input) reject(r *imports.Result) error {
	if in.rejects == nil {
		if err := in.openRejects(os.O_CREATE | os.O_TRUNC | os.O_WRONLY); err != nil {
			return err
		}
	}
	doc, _, err := in.problems.Document(r.Err, "")
	if err != nil {
		return err
	}
	line, err := json.Marshal(reject{Line: r.Line, Problem: doc, Original: string(r.Text)})
	if err != nil {
		return err
	}
	n, err := in.to.Write(append(line, '\n'))
	in.progress.Rejects += int64(n)
	return err
}

// save puts the rejects and then the progress on disk: what progress says is
// done has its rejects there.
func (in *input) save() error {
	in.saved = time.Now()
	if in.rejects != nil {
		if err := errors.Join(in.to.Flush(), in.rejects.Sync()); err != nil {
			return err
		}
	}
	if in.progressPath == "" {
		return nil
	}
	text, err := json.Marshal(in.progress)
	if err != nil {
		return err
	}
	// A file appears whole or stays as it was.
	temporary, err := os.CreateTemp(filepath.Dir(in.progressPath), ".progress-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), in.progressPath)
}

// finish leaves nothing behind but rejects.
func (in *input) finish() error {
	if err := in.save(); err != nil || in.progressPath == "" {
		return err
	}
	return os.Remove(in.progressPath)
}

// unfinished says how an import goes on that err has ended.
func (in *input) unfinished(err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	switch {
	case in.file == nil:
		return fmt.Errorf("%w\n%d lines were done; send all again, and nobody is imported twice", err, in.progress.Lines())
	case in.progressPath == "":
		return err // a dry run
	default:
		return fmt.Errorf("%w\nrun the same command again to go on behind line %d", err, in.progress.Line)
	}
}

func (in *input) close() {
	if in.file != nil {
		_ = in.file.Close()
	}
	if in.rejects != nil {
		_ = in.rejects.Close()
	}
}
