package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

// looked is how much of a file's beginning tells whether it can be imported.
const looked = 4 << 10

const (
	byteOrderMark = "\xEF\xBB\xBF"
	utf8Text      = "text/plain; charset=utf-8" // as net/http calls it
)

// open opens the file behind what runs before have done of it. Nothing is
// written yet.
func (i *importFile) open() (*input, error) {
	in := &input{problems: commandapi.NewLineProblems(), rejectsPath: i.Rejects}
	table := i.CSV || strings.EqualFold(filepath.Ext(i.File), ".csv")
	if i.File == "-" {
		in.rejectsPath = i.rejectsOf("stdin")
		return in, in.begin(os.Stdin, table)
	}
	in.rejectsPath = i.rejectsOf(i.File)
	if !i.DryRun {
		in.progressPath = i.File + ".progress"
	}
	err := in.openFile(i.File, table)
	if err == nil {
		err = errors.Join(in.resume(i.Restart), in.checkRejects())
	}
	if err == nil {
		err = in.begin(in.file, table)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (i *importFile) rejectsOf(name string) string {
	switch {
	case i.Rejects != "":
		return i.Rejects
	case i.DryRun:
		return name + ".rejects.dry-run.ndjson"
	default:
		return name + ".rejects.ndjson"
	}
}

func (in *input) openFile(path string, table bool) error {
	info, err := os.Stat(path) // first: opening a pipe would wait for whoever writes to it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no such file; check its name, and the directory this runs in", path)
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory; name one file in it", path)
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file, and could not be resumed; import it as in: command-api import - < %s", path, path)
	case err == nil && info.Size() == 0:
		return fmt.Errorf("%s is empty, so nothing was imported; check what was to write it", path)
	}
	if err == nil {
		in.file, err = os.Open(path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s may not be read by the user this runs as; change its mode or run as its owner", path)
	}
	if err != nil {
		return err
	}
	// The lock is on the file itself: it leaves nothing behind, and ends with
	// the process however that ends.
	err = syscall.Flock(int(in.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a descriptor
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%s is being imported by another process; wait for it to end", path)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	if in.fingerprint, err = fingerprintOf(in.file); err != nil {
		return err
	}
	return checkContent(in.file, table)
}

// checkContent refuses what can only have been named by mistake, before every
// line of it is rejected.
func checkContent(file *os.File, table bool) error {
	head := make([]byte, looked)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = bytes.TrimPrefix(head[:n], []byte(byteOrderMark))
	kind, name := http.DetectContentType(head), file.Name()
	if bytes.IndexByte(head, 0) >= 0 && kind == utf8Text {
		kind = "binary data"
	}
	switch {
	case kind == "application/x-gzip":
		return fmt.Errorf("%s is compressed; import it as in: gunzip -c %s | command-api import -", name, name)
	case kind != utf8Text:
		return fmt.Errorf("%s is neither NDJSON nor CSV in UTF-8, but looks like %s; export it as one of them", name, kind)
	case !table && bytes.HasPrefix(bytes.TrimSpace(head), []byte("[")):
		return fmt.Errorf("%s is a JSON array, and an import takes one object a line; convert it as in: jq -c '.[]' %s > %s.ndjson", name, name, name)
	}
	return nil
}

func fingerprintOf(file *os.File) (fingerprint, error) {
	info, err := file.Stat()
	if err != nil {
		return fingerprint{}, err
	}
	sum, size := sha256.New(), info.Size()
	for _, at := range []int64{0, max(size-fingerprinted, 0)} {
		if _, err := io.Copy(sum, io.NewSectionReader(file, at, min(fingerprinted, size))); err != nil {
			return fingerprint{}, err
		}
	}
	return fingerprint{Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// begin sets source to what is left.
func (in *input) begin(from io.Reader, table bool) error {
	p := in.progress
	if table {
		rows, err := imports.NewTable(from)
		if err != nil {
			return fmt.Errorf("%w\nSee command-api import --help for the columns there are", err)
		}
		in.source = rows
		if p.Offset > 0 {
			if _, err := in.file.Seek(p.Offset, io.SeekStart); err != nil {
				return err
			}
			rows.Resume(in.file, p.Line, p.Offset)
		}
		return nil
	}
	if p.Offset > 0 {
		_, err := in.file.Seek(p.Offset, io.SeekStart)
		in.source = imports.NewLines(from, p.Line, p.Offset)
		return err
	}
	// Some programs begin every text with a mark. In a request it is a fault,
	// as RFC 8259 has it; in a file nobody can see it.
	text, marked := bufio.NewReader(from), int64(0)
	if head, _ := text.Peek(len(byteOrderMark)); string(head) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark))
		marked = int64(len(byteOrderMark))
	}
	in.source = imports.NewLines(text, 0, marked)
	return nil
}
