package process_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/process"
)

type part struct {
	name        string
	events      *[]string
	fails       error
	needsCancel bool
}

func (p part) Start(context.Context) error {
	*p.events = append(*p.events, "start "+p.name)
	return p.fails
}

func (p part) Stop(ctx context.Context) error {
	*p.events = append(*p.events, "stop "+p.name)
	if p.needsCancel {
		<-ctx.Done()
		return ctx.Err()
	}
	return ctx.Err()
}

func TestServicesStopInReverse(t *testing.T) {
	t.Parallel()
	var events []string
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := process.Run(ctx, slog.New(slog.DiscardHandler), time.Second, part{name: "a", events: &events}, part{name: "b", events: &events})
	require.NoError(t, err)
	require.Equal(t, []string{"start a", "start b", "stop b", "stop a"}, events)
}

func TestWhatStartedIsStoppedWhenAnotherCannotStart(t *testing.T) {
	t.Parallel()
	var events []string
	failed := errors.New("port in use")
	err := process.Run(t.Context(), slog.New(slog.DiscardHandler), time.Second,
		part{name: "a", events: &events}, part{name: "b", events: &events, fails: failed}, part{name: "c", events: &events})
	require.ErrorIs(t, err, failed)
	require.Equal(t, []string{"start a", "start b", "stop a"}, events)
}

func TestOneThatHangsKeepsNoOtherFromStopping(t *testing.T) {
	t.Parallel()
	var events []string
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := process.Run(ctx, slog.New(slog.DiscardHandler), 10*time.Millisecond, part{name: "a", events: &events}, part{name: "b", events: &events, needsCancel: true})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, []string{"start a", "start b", "stop b", "stop a"}, events)
}

// hang is a command that does not heed the end of its context.
type hang struct {
	Polite bool
}

func (h *hang) Run(ctx context.Context) error {
	_, _ = os.Stdout.WriteString("up\n")
	<-ctx.Done()
	_, _ = os.Stdout.WriteString("stopping\n")
	if h.Polite {
		return nil
	}
	select {}
}

// TestMain is the process itself when it is run by TestSignals.
func TestMain(m *testing.M) {
	if args := os.Getenv("PROCESS_TEST_ARGS"); args != "" {
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		var cli struct {
			Hang hang `cmd:""`
		}
		os.Exit(process.Main(&cli, "test", "", strings.Fields(args), os.Stderr))
	}
	os.Exit(m.Run())
}

func TestSignals(t *testing.T) {
	t.Parallel()
	begin := func(args string) (*exec.Cmd, func(string)) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PROCESS_TEST_ARGS="+args)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, func(want string) {
			t.Helper()
			line := make([]byte, len(want)+1)
			_, err := out.Read(line)
			require.NoError(t, err)
			require.Equal(t, want+"\n", string(line))
		}
	}
	polite, line := begin("hang --polite")
	line("up")
	require.NoError(t, polite.Process.Signal(syscall.SIGTERM))
	line("stopping")
	require.NoError(t, polite.Wait(), "one signal: exit code 0")

	stubborn, line := begin("hang")
	line("up")
	require.NoError(t, stubborn.Process.Signal(syscall.SIGTERM))
	line("stopping")
	require.NoError(t, stubborn.Process.Signal(syscall.SIGTERM))
	err := stubborn.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok)
	require.False(t, exit.Success(), "a second signal ends the process at once")
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	var cli struct {
		Hang hang `cmd:""`
	}
	var out bytes.Buffer
	require.Equal(t, 2, process.Main(&cli, "test", "", []string{"hang", "--no-such"}, &out))
	require.Contains(t, out.String(), "test cannot start:")
	require.Equal(t, 0, process.Main(&cli, "test", "", []string{"--help"}, &out))
}
