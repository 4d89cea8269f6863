package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/api/client"
)

const (
	id       = "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"
	document = `{"id": "` + id + `", "version": 2, "status": "active", "first_name": "Ada", "last_name": null, "email": "ada@example.com", "phone": null,
		"locale": null, "external_id": null, "addresses": [], "tags": [], "metadata": {}, "consents": {},
		"created_at": "2026-01-02T03:04:05.000006Z", "updated_at": "2026-01-02T03:04:05.000006Z"}`
	problem = `{"type": "/problems/%s", "title": "x", "status": 412, "detail": "Read again.", "code": "%[1]s", "trace_id": "t", "current_version": 2}`
)

// service answers each request with the next of its answers, or as the
// contract has it when they are used up, and notes what it was asked.
type service struct {
	mu      sync.Mutex
	answers []reply
	asked   []*http.Request
	bodies  []string
	at      []time.Time
}

func (s *service) Do(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := ""
	if r.Body != nil {
		read, _ := io.ReadAll(r.Body)
		body = string(read)
	}
	s.asked, s.bodies, s.at = append(s.asked, r), append(s.bodies, body), append(s.at, time.Now())
	if len(s.answers) > 0 {
		next := s.answers[0]
		s.answers = s.answers[1:]
		return next.response()
	}
	header := []string{"Consistency-Token", "token-of-" + r.Method}
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/customers"):
		return answer(http.StatusCreated, document, header...).response()
	case r.Method == http.MethodDelete && r.URL.Path == "/v1/customers/"+id:
		return answer(http.StatusNoContent, "", header...).response()
	case strings.HasSuffix(r.URL.Path, "/erase"), strings.HasSuffix(r.URL.Path, "/erasure"):
		return answer(http.StatusOK, `{"id": "`+id+`", "version": 3, "reason": "asked for"}`, header...).response()
	default:
		return answer(http.StatusOK, document, header...).response()
	}
}

// reply is an answer, or an error in place of one.
type reply struct {
	status int
	body   string
	torn   bool // breaks off after the body
	header []string
	err    error
}

func answer(status int, body string, header ...string) reply {
	return reply{status: status, body: body, header: header}
}

func (a reply) response() (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if a.status >= 400 {
		header.Set("Content-Type", "application/problem+json")
	}
	for i := 0; i < len(a.header); i += 2 {
		header.Set(a.header[i], a.header[i+1])
	}
	var body io.Reader = strings.NewReader(a.body)
	if a.torn {
		body = io.MultiReader(body, brokenReader{})
	}
	return &http.Response{StatusCode: a.status, Header: header, Body: io.NopCloser(body)}, nil
}

var (
	lost = reply{err: io.ErrUnexpectedEOF}
	torn = reply{status: http.StatusCreated, body: `{"id": `, torn: true}
)

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (s *service) last() *http.Request { return s.asked[len(s.asked)-1] }

func newClient(t *testing.T, s *service, options ...client.ClientOption) *client.Customers {
	t.Helper()
	c, err := client.NewCustomers("http://commands", "http://queries", append([]client.ClientOption{client.WithHTTPClient(s)}, options...)...)
	require.NoError(t, err)
	return c
}

var ada = client.Registration{Email: "ada@example.com"}

func TestTokensAreCarried(t *testing.T) {
	t.Parallel()
	s := &service{}
	c, ctx := newClient(t, s), t.Context()
	_, err := c.Get(ctx, id)
	require.NoError(t, err)
	require.Empty(t, s.last().Header.Get("Consistency-Token"))
	require.Equal(t, "queries", s.last().URL.Host)

	_, err = c.Register(ctx, ada, client.WithDryRun())
	require.NoError(t, err)
	require.Equal(t, "dry_run=true", s.last().URL.RawQuery)
	d, err := c.Register(ctx, ada)
	require.NoError(t, err)
	require.EqualValues(t, 2, d.Version)
	require.Equal(t, "commands", s.last().URL.Host)
	_, err = c.Get(ctx, id, client.After("another"), client.WithPatience(5))
	require.NoError(t, err)
	require.Equal(t, []string{"token-of-POST", "another"}, s.last().Header.Values("Consistency-Token"))
	require.Equal(t, "wait=5", s.last().Header.Get("Prefer"))

	_, err = c.Change(ctx, id, client.CustomerPatch{}, client.IfVersion(1))
	require.NoError(t, err)
	require.Equal(t, `"1"`, s.last().Header.Get("If-Match"))
	require.Equal(t, "application/merge-patch+json", s.last().Header.Get("Content-Type"))
	require.Equal(t, "token-of-PATCH", c.Token(id))
	require.NoError(t, c.Delete(ctx, id))
	require.Empty(t, s.last().Header.Get("If-Match"))
	_, err = c.Erasure(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "token-of-DELETE", s.last().Header.Get("Consistency-Token"))
}

func TestADryRunLeavesNoToken(t *testing.T) {
	t.Parallel()
	s := &service{answers: []reply{
		answer(http.StatusCreated, document, "Consistency-Token", "never", "Dry-Run", "true"),
	}}
	c := newClient(t, s)
	_, err := c.Register(t.Context(), ada, client.WithDryRun())
	require.NoError(t, err)
	require.Empty(t, c.Token(id))
}

func TestEveryCommandHasAKey(t *testing.T) {
	t.Parallel()
	s := &service{}
	c, ctx := newClient(t, s), t.Context()
	discard := func(_ any, err error) error { return err }
	commands := []error{
		discard(c.Register(ctx, ada)),
		discard(c.Change(ctx, id, client.CustomerPatch{})),
		discard(c.AddAddress(ctx, id, client.AddressInput{})),
		discard(c.ChangeAddress(ctx, id, id, client.AddressInput{})),
		discard(c.RemoveAddress(ctx, id, id)),
		discard(c.AddTag(ctx, id, "vip")),
		discard(c.RemoveTag(ctx, id, "vip")),
		discard(c.SetConsent(ctx, id, "email", client.ConsentInput{Granted: true})),
		discard(c.Suspend(ctx, id, "chargeback")),
		discard(c.Reinstate(ctx, id)),
		c.Delete(ctx, id),
		discard(c.Restore(ctx, id)),
		discard(c.Erase(ctx, id, "asked for")),
	}
	keys := map[string]bool{}
	for i, err := range commands {
		require.NoError(t, err, "%s", s.asked[i].URL)
		keys[s.asked[i].Header.Get("Idempotency-Key")] = true
	}
	require.Len(t, keys, len(commands), "each a key of its own")
	require.NotContains(t, keys, "")
	_, err := c.Register(ctx, ada, client.WithIdempotencyKey("order-42"), client.WithCorrelationID("checkout-1"))
	require.NoError(t, err)
	require.Equal(t, []string{"order-42"}, s.last().Header.Values("Idempotency-Key"))
	require.Equal(t, "checkout-1", s.last().Header.Get("X-Correlation-ID"))
}

func TestProblemsAreErrors(t *testing.T) {
	t.Parallel()
	s := &service{answers: []reply{
		answer(http.StatusPreconditionFailed, fmt.Sprintf(problem, "version-mismatch")),
		answer(http.StatusForbidden, "<html>", "Content-Type", "text/html"),
		answer(http.StatusUnprocessableEntity, strings.Replace(fmt.Sprintf(problem, "validation-failed"), `"current_version": 2`,
			`"errors": [{"pointer": "/email", "code": "invalid_email", "detail": "d"}, {"pointer": "", "code": "unknown_field", "detail": "d"}]`, 1)),
	}}
	c := newClient(t, s)
	_, err := c.Change(t.Context(), id, client.CustomerPatch{}, client.IfVersion(9))
	require.Equal(t, client.ProblemCodeVersionMismatch, client.CodeOf(fmt.Errorf("change: %w", err)))
	found, ok := errors.AsType[*client.Error](err)
	require.True(t, ok)
	require.EqualValues(t, 2, *found.CurrentVersion)
	require.ErrorContains(t, err, "412 version-mismatch: Read again. (trace t)")
	_, err = c.Get(t.Context(), id)
	require.EqualError(t, err, "customer service answered 403")
	require.Empty(t, client.CodeOf(err))
	require.Empty(t, client.CodeOf(nil))
	require.Empty(t, found.Faults())
	_, err = c.Register(t.Context(), ada)
	require.EqualError(t, err, "customer service answered 422 validation-failed: Read again. /email invalid_email; (body) unknown_field; (trace t)")
	found, _ = errors.AsType[*client.Error](err)
	require.Len(t, found.Faults(), 2)
}

func TestWhatIsUnsettledIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{answers: []reply{
			lost,
			torn,
			answer(http.StatusServiceUnavailable, fmt.Sprintf(problem, "overloaded"), "Retry-After", "3"),
			answer(http.StatusTooManyRequests, fmt.Sprintf(problem, "too-many-requests"), "Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat)),
			answer(http.StatusConflict, fmt.Sprintf(problem, "idempotency-in-flight"), "Retry-After", "1"),
			answer(http.StatusBadGateway, "<html>", "Content-Type", "text/html"),
		}}
		c := newClient(t, s)
		d, err := c.Register(t.Context(), ada)
		require.NoError(t, err)
		require.EqualValues(t, 2, d.Version)
		require.Len(t, s.asked, 7)
		for i := range s.asked {
			require.Equal(t, s.asked[0].Header, s.asked[i].Header, "the same key")
			require.JSONEq(t, `{"email": "ada@example.com"}`, s.bodies[i])
		}
		require.Less(t, s.at[2].Sub(s.at[0]), 200*time.Millisecond)
		require.GreaterOrEqual(t, s.at[3].Sub(s.at[2]), 3*time.Second)
		require.GreaterOrEqual(t, s.at[4].Sub(s.at[0]), 20*time.Second)
		require.GreaterOrEqual(t, s.at[5].Sub(s.at[4]), time.Second)
	})
}

func TestRepeatingEnds(t *testing.T) {
	t.Parallel()
	down := answer(http.StatusServiceUnavailable, fmt.Sprintf(problem, "unavailable"), "Retry-After", "1")
	always := func(what reply) (many []reply) {
		for range 100 {
			many = append(many, what)
		}
		return many
	}
	t.Run("with the attempts", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &service{answers: always(lost)}
			begin := time.Now()
			_, err := newClient(t, s).Get(t.Context(), id)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.ErrorContains(t, err, "after 12 attempts")
			require.Greater(t, time.Since(begin), 7*time.Second, "long enough for a restart")
			require.Less(t, time.Since(begin), 14*time.Second)
		})
	})
	t.Run("with one attempt", func(t *testing.T) {
		t.Parallel()
		s := &service{answers: always(down)}
		_, err := newClient(t, s, client.WithAttempts(1)).Register(t.Context(), ada)
		require.Equal(t, client.ProblemCodeUnavailable, client.CodeOf(err))
		require.Len(t, s.asked, 1)
		_, err = client.NewCustomers("http://x", "http://x", client.WithAttempts(0))
		require.ErrorContains(t, err, "want at least 1")
	})
	t.Run("with the context", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &service{answers: always(down)}
			ctx, cancel := timeout(t, 2500*time.Millisecond)
			defer cancel()
			_, err := newClient(t, s).Get(ctx, id)
			require.Equal(t, client.ProblemCodeUnavailable, client.CodeOf(err), "it says what was in the way")
			require.Len(t, s.asked, 3)
		})
	})
	t.Run("at what is settled", func(t *testing.T) {
		t.Parallel()
		s := &service{answers: always(answer(http.StatusConflict, fmt.Sprintf(problem, "email-taken")))}
		_, err := newClient(t, s).Register(t.Context(), ada)
		require.Equal(t, client.ProblemCodeEmailTaken, client.CodeOf(err))
		require.Len(t, s.asked, 1)
	})
	t.Run("where nothing can be sent again", func(t *testing.T) {
		t.Parallel()
		s := &service{answers: always(down)}
		err := newClient(t, s).Import(t.Context(), io.MultiReader(strings.NewReader("{}\n")), nil)
		require.Equal(t, client.ProblemCodeUnavailable, client.CodeOf(err))
		require.Len(t, s.asked, 1)
	})
}

func TestImport(t *testing.T) {
	t.Parallel()
	results := `{"line": 1, "status": "registered", "id": "` + id + `", "version": 1}` + "\n" +
		`{"line": 2, "status": "failed", "problem": {"code": "email-taken"}}` + "\n"
	stream := answer(http.StatusOK, results, "Content-Type", "application/x-ndjson")
	s := &service{answers: []reply{stream, stream}}
	c := newClient(t, s)
	var all []client.ImportResult
	require.NoError(t, c.Import(t.Context(), strings.NewReader("{}\n{}\n"), func(r client.ImportResult) error {
		all = append(all, r)
		return nil
	}))
	require.Len(t, all, 2)
	require.Equal(t, client.Registered, all[0].Status)
	require.Equal(t, "application/x-ndjson", s.last().Header.Get("Content-Type"))
	require.ErrorIs(t, c.Import(t.Context(), strings.NewReader("{}\n"), func(client.ImportResult) error { return io.ErrClosedPipe }), io.ErrClosedPipe)
}
