package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
)

// logLimit bounds a log: past it the file becomes NAME.1, and the one that was
// that is gone.
const logLimit = 32 << 20

// important finds the lines that a developer should see at once, by how they
// begin: a line may be long.
var important = regexp.MustCompile(`"level":"(WARN|ERROR)"|\blevel=(WARN|ERROR)\b|^panic:|^fatal error:|^WARNING: DATA RACE`)

// logFile takes what a process prints, and passes the important lines on.
type logFile struct {
	path  string
	limit int
	show  func(line string)

	mu   sync.Mutex
	file *os.File
	size int
	rest []byte // of a line that is not complete
}

func openLog(path string, show func(string)) (*logFile, error) {
	l := &logFile{path: path, limit: logLimit, show: show}
	return l, l.rotate()
}

func (l *logFile) rotate() error {
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return fmt.Errorf("rotate a log: %w", err)
		}
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate a log: %w", err)
	}
	var err error
	l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	l.size = 0
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	return nil
}

// Write never splits a line between two files, nor shows half of one.
func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 && len(l.rest) < 64<<10 {
		return len(b), nil
	}
	if end == 0 {
		end = len(l.rest)
	}
	whole := l.rest[:end]
	if l.size+len(whole) > l.limit {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(whole)
	l.size += n
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(whole) {
		if start := shorten(string(bytes.TrimSpace(line))); important.MatchString(start) {
			l.show(start)
		}
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(b), nil
}

// Close keeps what a process printed last without ending the line.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.file.Write(l.rest)
	l.rest = nil
	return errors.Join(err, l.file.Close())
}

func shorten(line string) string {
	const most = 500
	if len(line) <= most {
		return line
	}
	return strings.ToValidUTF8(line[:most], "") + "…"
}

func lastLines(b []byte, lines int) string {
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	return "  " + strings.Join(all, "\n  ")
}
