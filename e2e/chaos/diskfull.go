package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
	"github.com/ebrahem-outlook/customer-service/internal/devstack"
)

// ErrNoSmallDisk tells that this machine does not let us make one.
var ErrNoSmallDisk = errors.New("no small disk can be made here")

// diskName is what a small disk is called in the table of mounts.
const diskName = "customer-service-faults"

// SmallDisk is a filesystem in memory that a stack's data lives on, so that it
// can become full without harm to the machine.
type SmallDisk struct {
	at   string
	size int64
}

// filler is the file that takes what is left of a disk.
const filler = "filler"

// NewSmallDisk makes a disk of so many bytes for the data of a stack in dir,
// before the stack starts. One that a killed run left there is taken over. It
// returns [ErrNoSmallDisk] where only the superuser of a whole Linux machine may
// make one.
func NewSmallDisk(dir string, size int64) (*SmallDisk, error) {
	abs, err := filepath.Abs(filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(abs, 0o711); err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	d := &SmallDisk{at: abs, size: size}
	mounted, err := d.mounted()
	if err != nil {
		return nil, errors.Join(ErrNoSmallDisk, err)
	}
	if mounted {
		return d, d.resize()
	}
	return d, d.mount()
}

// mounted tells whether our disk is in its place already.
func (d *SmallDisk) mounted() (bool, error) {
	table, err := os.Open("/proc/self/mounts")
	if err != nil {
		return false, err
	}
	defer table.Close()
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 2 && f[0] == diskName && f[1] == d.at {
			return true, nil
		}
	}
	return false, lines.Err()
}

// Dir is where the disk is.
func (d *SmallDisk) Dir() string { return d.at }

// Fill takes what is left of the disk.
func (d *SmallDisk) Fill() error {
	f, err := os.OpenFile(filepath.Join(d.at, filler), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for len(zeros) >= 4096 {
		if _, err := f.Write(zeros); err != nil {
			zeros = zeros[:len(zeros)/2] // what is left is less than that
		}
	}
	return nil
}

// Free gives back what Fill took.
func (d *SmallDisk) Free() error {
	if err := os.Remove(filepath.Join(d.at, filler)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

// Fault fills the disk and keeps it full, whatever is removed meanwhile. It is
// an error when the stack keeps its data elsewhere.
func (d *SmallDisk) Fault(c *cluster.Cluster) (Fault, error) {
	services := []*devstack.Service{c.Stack.Postgres(), c.Stack.RabbitMQ(), c.Stack.Redis()}
	touched := []string{"disk"}
	for _, s := range services {
		touched = append(touched, string(s.Kind()))
		data, err := filepath.EvalSymlinks(s.DataDir())
		if err != nil {
			return Fault{}, err
		}
		if !strings.HasPrefix(data, d.at+string(filepath.Separator)) {
			return Fault{}, fmt.Errorf("%w: %s keeps its data at %s, because its user cannot reach %s", ErrNoSmallDisk, s.Kind(), data, d.at)
		}
	}
	return Fault{
		Kind: "disk-full", Targets: []string{"disk"}, Alone: true, Least: time.Second, Most: 4 * time.Second,
		Touches: func(string) []string { return touched },
		Inject: func(_ context.Context, in *Injection) error {
			broker := c.Stack.RabbitMQ().LogFile()
			read, err := size(broker)
			if err != nil {
				return err
			}
			in.Undo(func(ctx context.Context) error {
				return errors.Join(d.Free(), restart(ctx, in, c.Stack.RabbitMQ(), broker, read), startAll(ctx, in, services))
			})
			walToo := in.Rand.IntN(2) == 0
			if walToo {
				in.Say("also where PostgreSQL writes ahead")
			}
			in.During(func(ctx context.Context) error {
				for pause(ctx, 50*time.Millisecond) {
					if err := d.Fill(); err != nil {
						return err
					}
					if walToo {
						// PostgreSQL writes on in segments that it made earlier; once they
						// are used up it cannot go on at all. Errors are what is wanted.
						_, _ = c.EventLog().Exec(ctx, switchSegment)
					}
				}
				return nil
			})
			return d.Fill()
		},
	}, nil
}

const switchSegment = `SELECT pg_logical_emit_message(false, 'fill', repeat('x', 100)), pg_switch_wal()`

func startAll(ctx context.Context, in *Injection, services []*devstack.Service) error {
	var errs []error
	for _, s := range services {
		if s.PID() == 0 {
			in.Say("%s ended of it", s.Kind())
		}
		errs = append(errs, s.Start(ctx))
	}
	return errors.Join(errs...)
}

// restart starts RabbitMQ again if it met the full disk: what keeps its quorum
// queues ends then and does not come back by itself, while the node lives on
// and refuses connections.
func restart(ctx context.Context, in *Injection, broker *devstack.Service, log string, from int64) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	said, err := io.ReadAll(io.NewSectionReader(f, from, 64<<20))
	if err != nil || !strings.Contains(string(said), "enospc") {
		return err
	}
	in.Say("rabbitmq met it and was started again")
	return errors.Join(broker.Kill(), broker.Start(ctx))
}

func size(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
