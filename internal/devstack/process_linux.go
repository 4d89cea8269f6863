package devstack

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes reads the process table from /proc: the ps command is not part of
// a minimal Debian.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	table := make([]process, 0, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := lookup(pid); ok {
			table = append(table, p)
		}
	}
	return table, nil
}

// lookup reads one process's row; ok is false when there is none.
func lookup(pid int) (p process, ok bool) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, false
	}
	// "pid (name) state ppid … starttime …": the name may hold anything, the
	// last parenthesis ends it. starttime is field 22 of proc(5).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, false
	}
	return process{
		pid:    pid,
		ppid:   ppid,
		born:   fields[19],
		zombie: fields[0] == "Z" || fields[0] == "X",
	}, true
}

// orphans finds what an ended owner left running: processes that carry its
// mark in their environment, and PostgreSQL's, which overwrite theirs, by the
// data directory that they work in.
func orphans(mark, pgdata string) ([]process, error) {
	table, err := processes()
	if err != nil {
		return nil, err
	}
	want := []byte(markVariable + "=" + mark)
	var found []process
	for _, p := range table {
		if p.zombie {
			continue
		}
		dir := filepath.Join("/proc", strconv.Itoa(p.pid))
		if cwd, err := os.Readlink(filepath.Join(dir, "cwd")); err == nil && cwd == pgdata {
			found = append(found, p)
			continue
		}
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || mark == "" {
			continue
		}
		for entry := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(entry, want) {
				found = append(found, p)
				break
			}
		}
	}
	return found, nil
}
