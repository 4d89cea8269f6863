//go:build !linux

package devstack

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// processes asks ps, which every Unix but a minimal Linux has.
func processes() ([]process, error) {
	return ps("-ax")
}

// lookup reads one process's row; ok is false when there is none.
func lookup(pid int) (p process, ok bool) {
	table, err := ps("-p", strconv.Itoa(pid))
	if err != nil || len(table) != 1 {
		return process{}, false
	}
	return table[0], true
}

func ps(which ...string) ([]process, error) {
	cmd := exec.Command("ps", append(which, "-o", "pid=,ppid=,state=,lstart=")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var table []process
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			continue
		}
		ppid, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		table = append(table, process{
			pid:    pid,
			ppid:   ppid,
			born:   strings.Join(fields[3:], " "),
			zombie: strings.HasPrefix(fields[2], "Z"),
		})
	}
	return table, lines.Err()
}

// orphans knows no way here to see another process's environment or directory;
// the pids in the owner's record have to do.
func orphans(_, _ string) ([]process, error) {
	return nil, nil
}
