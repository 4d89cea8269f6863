package imports_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/command"
	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
)

func TestEachLineStandsForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	results := w.run(t, imports.Config{},
		`{"last_name": "A", "email": "a@example.com", "external_id": "1", "tags": ["x"]}`,
		``,
		`{"last_name": "B", "email": "b@`,
		strings.Repeat("x", imports.MaxLine+1),
		`{"last_name": "C", "email": "c@example.com", "nmae": 1}`,
		`   `,
		`{"last_name": "D", "email": "D@example.com", "external_id": "4", "metadata": {"k": "v"}}`,
	)
	require.Equal(t, []string{"1 registered 1", "7 registered 1"}, told([]imports.Result{results[0], results[4]}))
	for i, line := range []int64{3, 4, 5} {
		require.Equal(t, line, results[i+1].Line)
		require.Equal(t, imports.Failed, results[i+1].Status)
	}
	require.ErrorIs(t, results[2].Err, imports.ErrLineTooLong)
	require.Len(t, results, 5)

	results = w.run(t, imports.Config{},
		`{"last_name": "A", "email": "a@example.com", "external_id": "1", "tags": ["x"]}`, // the same again
		`{"last_name": "A", "email": "moved@example.com", "external_id": "1"}`,            // by external id
		`{"first_name": "Dee", "email": "d@EXAMPLE.com", "metadata": {"l": "w"}}`,         // by e-mail
		`{"last_name": "X", "email": "d@example.com", "external_id": "1"}`,                // two customers
		`{"last_name": "N", "email": "a@example.com"}`,                                    // which line 2 has freed
		`{"last_name": "D", "email": "d@example.com", "external_id": null}`,
	)
	require.Equal(t, []string{
		"1 unchanged 1", "2 updated 2", "3 updated 4", "4 failed 0 e-mail address is taken", "5 registered 1", "6 updated 6",
	}, told(results)[:6])
	require.Equal(t, 3, w.count(t, "SELECT count(*) FROM eventlog.streams"))
}

func TestCollectionsAreMerged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const full = `{"last_name": "A", "email": "a@example.com", "tags": ["x", "y"], "metadata": {"k": "v"},
		"addresses": [{"line1": "1 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "FR", "default_for": ["shipping"]},
			{"line1": "2 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "FR", "default_for": ["shipping"]}],
		"consents": {"email": {"granted": true, "source": "crm"}, "sms": {"granted": false}}}`
	one := strings.ReplaceAll(full, "\n", " ")
	require.Equal(t, []string{"1 registered 1", "2 unchanged 1"}, told(w.run(t, imports.Config{}, one, one)))
	require.Equal(t, []string{"1 updated 5"}, told(w.run(t, imports.Config{},
		`{"last_name": "A", "email": "a@example.com", "tags": ["z", "x"], "metadata": {"l": "w"}, "consents": {"sms": {"granted": true}},`+
			` "addresses": [{"line1": "3 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "FR"}]}`)))
}

func TestLinesAboutOneCustomerKeepTheirOrder(t *testing.T) {
	t.Parallel()
	for _, cfg := range []imports.Config{{}, {Batch: 7, InFlight: 5}, {Batch: 1, InFlight: 16}} {
		w := newWorld(t)
		var lines []string
		for i := range 300 { // five customers, known now by one name and now by the other
			c := i % 5
			lines = append(lines, fmt.Sprintf(`{"last_name": "v%d", "email": "c%d@example.com"}`, i, c),
				fmt.Sprintf(`{"last_name": "v%d", "email": "c%d@example.com", "external_id": "x%d"}`, i+1, c, c))
		}
		for _, r := range w.run(t, cfg, lines...) {
			require.NoError(t, r.Err)
		}
		require.Equal(t, 5, w.count(t, "SELECT count(*) FROM eventlog.streams"))
		for c := range 5 {
			again := w.run(t, cfg, fmt.Sprintf(`{"last_name": "v%d", "email": "c%d@example.com"}`, 295+c+1, c))
			require.Equal(t, imports.Unchanged, again[0].Status, "the last line has the last word")
		}
	}
}

// Names pass from one customer to another within a file.
func TestNamesMoveInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, imports.Config{}, `{"last_name": "A", "email": "z@example.com", "external_id": "A"}`)
	for round := range 20 {
		cfg := imports.Config{Batch: 1 + round%3, InFlight: 6}
		results := w.run(t, cfg,
			fmt.Sprintf(`{"last_name": "A", "email": "x%d@example.com", "external_id": "A"}`, round), // frees z
			fmt.Sprintf(`{"last_name": "N%d", "email": "z@example.com"}`, round),                     // takes z
			fmt.Sprintf(`{"last_name": "N%d", "email": "y%d@example.com", "external_id": "n%d"}`, round, round, round),
			fmt.Sprintf(`{"last_name": "N%d", "email": "z@example.com", "external_id": "m%d"}`, round, round),
			fmt.Sprintf(`{"last_name": "N%d", "email": "q%d@example.com", "external_id": "m%d"}`, round, round, round), // frees z
			`{"last_name": "A", "email": "z@example.com", "external_id": "A"}`,                                         // takes it back
		)
		var statuses []imports.Status
		for _, r := range results {
			require.NoError(t, r.Err)
			statuses = append(statuses, r.Status)
		}
		require.Equal(t, []imports.Status{
			imports.Updated, imports.Registered, imports.Registered, imports.Updated, imports.Updated, imports.Updated,
		}, statuses)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, imports.Config{}, `{"last_name": "A", "email": "a@example.com"}`)
	var all []imports.Result
	req := asking()
	req.DryRun = true
	_, err := w.importer(t, imports.Config{}).Run(t.Context(), imports.NewLines(strings.NewReader(
		`{"last_name": "A", "email": "a@example.com"}
{"last_name": "B", "email": "a@example.com"}
{"last_name": "C", "email": "c@example.com"}
{}`), 0, 0), req, func(r []imports.Result) error { all = append(all, r...); return nil })
	require.NoError(t, err)
	require.Equal(t, []string{"1 unchanged 1", "2 updated 2", "3 registered 1"}, told(all)[:3])
	require.Equal(t, imports.Failed, all[3].Status)
	require.Equal(t, 1, w.count(t, "SELECT count(*) FROM eventlog.events"))
}

// However much there is to read, reading stops while nobody takes results, and
// goes on when somebody does.
func TestReadingWaitsForResultsToBeTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	src := &counted{}
	taken, hold := 0, make(chan struct{})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := w.importer(t, imports.Config{Batch: 8, InFlight: 2}).Run(ctx, src, asking(), func(r []imports.Result) error {
			<-hold
			taken += len(r)
			if taken > 200 {
				return errEnough
			}
			return nil
		})
		done <- err
	}()
	require.Eventually(t, func() bool { return w.count(t, "SELECT count(*) FROM eventlog.streams") >= 9 }, patience, patience/1000)
	require.LessOrEqual(t, w.count(t, "SELECT count(*) FROM eventlog.streams"), 16, "lines under way")
	close(hold)
	require.ErrorIs(t, <-done, errEnough)
	cancel()
	require.LessOrEqual(t, w.count(t, "SELECT count(*) FROM eventlog.streams"), taken+16)
}

var errEnough = errors.New("enough")

// counted is an endless source.
type counted struct{ line int64 }

func (c *counted) Next() (imports.Record, error) {
	c.line++
	return imports.Record{Line: c.line, Text: fmt.Appendf(nil, `{"last_name": "x", "email": "e%d@example.com"}`, c.line)}, nil
}

// What was taken is committed, wherever an import is cut off.
func TestCancellationLosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	taken := 0
	_, err := w.importer(t, imports.Config{Batch: 32}).Run(ctx, &counted{}, asking(), func(r []imports.Result) error {
		for _, res := range r {
			require.Equal(t, imports.Registered, res.Status)
		}
		if taken += len(r); taken > 500 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.GreaterOrEqual(t, w.count(t, "SELECT count(*) FROM eventlog.streams"), taken)
	again := w.run(t, imports.Config{}, `{"last_name": "x", "email": "e1@example.com"}`)
	require.Equal(t, imports.Unchanged, again[0].Status)
}

// A log that is unavailable for a while costs time, and for longer ends the
// import; neither is a line's fault.
func TestUnavailabilityIsNoLinesFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shaky := &shaky{world: w, failures: 3}
	im, err := imports.New(shaky, commandapi.DecodeLine, imports.Config{})
	require.NoError(t, err)
	sum, err := im.Run(t.Context(), imports.NewLines(strings.NewReader(`{"last_name": "x", "email": "e1@example.com"}`), 0, 0), asking(),
		func([]imports.Result) error { return nil })
	require.NoError(t, err)
	require.EqualValues(t, 1, sum.Unchanged, "it was registered, and not heard of")

	shaky.failures = 1 << 30
	im, err = imports.New(shaky, commandapi.DecodeLine, imports.Config{Patience: 1})
	require.NoError(t, err)
	sum, err = im.Run(t.Context(), imports.NewLines(strings.NewReader(`{"last_name": "x", "email": "e2@example.com"}`), 0, 0), asking(),
		func([]imports.Result) error { return nil })
	require.ErrorIs(t, err, command.ErrUnavailable)
	require.Zero(t, sum.Lines())
}

// shaky loses answers.
type shaky struct {
	*world
	failures int
}

func (s *shaky) RegisterAll(ctx context.Context, req command.Request, all []customer.Registration) []command.Registered {
	out := s.world.RegisterAll(ctx, req, all)
	for i := range out {
		out[i].Err = command.ErrUnavailable
	}
	return out
}

func (s *shaky) Holders(ctx context.Context, names []command.Names) ([]command.Holders, error) {
	if s.failures--; s.failures >= 0 {
		return nil, command.ErrUnavailable
	}
	return s.world.Holders(ctx, names)
}

func TestLinesCountBytesAndBlanks(t *testing.T) {
	t.Parallel()
	in := "\n{}\r\n" + strings.Repeat("y", imports.MaxLine) + "\n" + strings.Repeat("z", 3*imports.MaxLine) + "\n\nlast"
	lines := imports.NewLines(strings.NewReader(in), 0, 0)
	var got []string
	for {
		rec, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%d %d %d %v", rec.Line, rec.End, len(rec.Text), rec.Err))
		if rec.Line == 3 { // from here on as after a kill
			lines = imports.NewLines(strings.NewReader(in[rec.End:]), rec.Line, rec.End)
		}
	}
	require.Equal(t, []string{
		"2 5 2 <nil>", "3 65542 65536 <nil>", "4 262151 0 line is longer than 64 KiB", "6 262156 4 <nil>",
	}, got)
}
