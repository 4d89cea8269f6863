package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// safeBuffer is a buffer that one goroutine fills while another looks at it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestLogShowsWhatMatters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	var shown []string
	l, err := openLog(path, func(line string) { shown = append(shown, line) })
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", 600)
	for _, part := range []string{
		`{"level":"INFO","msg":"WARN is not the level"}` + "\n" + `{"level":"ER`, `ROR","msg":"halves"}` + "\n",
		"time=now level=WARN msg=text\npanic: " + long + "\n", "no end of line",
	} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(shown) != 3 || shown[0] != `{"level":"ERROR","msg":"halves"}` || !strings.HasSuffix(shown[2], "ü…") || len(shown[2]) > 510 {
		t.Errorf("it shows %q", shown)
	}
	kept, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(kept), long+"\nno end of line") {
		t.Errorf("it keeps %d bytes, %v", len(kept), err)
	}
	if l, err = openLog(path, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path + ".1")
	if err != nil || !bytes.Equal(before, kept) {
		t.Errorf("the log before is %d bytes, %v", len(before), err)
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	l, err := openLog(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.limit = 10_000
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 35 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + ".1"} {
		if info, err := os.Stat(file); err != nil || info.Size() > 10_000 {
			t.Errorf("%s is %v, %v", file, info, err)
		}
	}
}
