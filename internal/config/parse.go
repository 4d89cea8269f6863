package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Parse reads arguments and environment into cli, whose fields are commands,
// and returns the command that was chosen, ready to Run. Every fault of its
// settings is in the error, each named by its variable and its flag.
//
// After --help the command is nil and so is the error.
func Parse(cli any, name, description string, args []string, out io.Writer) (*kong.Context, error) {
	helped := false
	parser, err := kong.New(cli,
		kong.Name(name), kong.Description(description), kong.Writers(out, out),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}))
	if err != nil {
		return nil, fmt.Errorf("declare settings: %w", err)
	}
	chosen, err := parser.Parse(args)
	if helped {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, flag := range chosen.Flags() {
		if err := checkFlag(flag); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", label(flag), err))
		}
	}
	if checked, ok := chosen.Selected().Target.Addr().Interface().(interface{ Check() error }); ok {
		if err := checked.Check(); err != nil {
			faults = append(faults, err)
		}
	}
	return chosen, errors.Join(faults...)
}

func label(flag *kong.Flag) string {
	if len(flag.Envs) == 0 {
		return "--" + flag.Name
	}
	return flag.Envs[0] + " (--" + flag.Name + ")"
}

func checkFlag(flag *kong.Flag) error {
	if !flag.Target.CanAddr() {
		return nil
	}
	s, ok := flag.Target.Addr().Interface().(setting)
	if !ok {
		return nil
	}
	if err := s.fault(); err != nil {
		return err
	}
	least, most := flag.Tag.Get("min"), flag.Tag.Get("max")
	if most == "" {
		return nil
	}
	var below, above bool
	switch v := s.(type) {
	case *Int:
		low, lowErr := strconv.Atoi(least)
		high, highErr := strconv.Atoi(most)
		if err := errors.Join(lowErr, highErr); err != nil {
			return err
		}
		below, above = v.Value < low, v.Value > high
	case *Duration:
		low, lowErr := time.ParseDuration(least)
		high, highErr := time.ParseDuration(most)
		if err := errors.Join(lowErr, highErr); err != nil {
			return err
		}
		below, above = v.Value < low, v.Value > high
	default:
		return fmt.Errorf("%s has no range", reflect.TypeOf(s))
	}
	if below || above {
		return fmt.Errorf("must be from %s to %s", least, most)
	}
	return nil
}

// Logger is the logger that l asks for.
func (l Log) Logger(out io.Writer, process string) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(strings.ToUpper(string(l.Level)))) // the parser lets nothing else pass
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(out, options)
	if l.Format == "text" {
		handler = slog.NewTextHandler(out, options)
	}
	return slog.New(handler).With("process", process)
}
