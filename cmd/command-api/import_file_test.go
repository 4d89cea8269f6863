package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/httpapi/commandapi"
	"github.com/ebrahem-outlook/customer-service/internal/imports"
	"github.com/ebrahem-outlook/customer-service/internal/postgres/postgrestest"
	"github.com/ebrahem-outlook/customer-service/internal/privacy"
)

// shell runs `command-api import` as its users do, over a log of its own.
type shell struct {
	db   postgrestest.Database
	url  string // of the log, as the command sees it
	keys string
	dir  string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{db: postgrestest.EventLog(t), dir: t.TempDir()}
	s.url, s.keys = s.db.URL, filepath.Join(s.dir, "keys.json")
	require.NoError(t, privacy.InitKeyring(s.keys))
	return s
}

// file writes a file to import.
func (s *shell) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (s *shell) command(t *testing.T, args ...string) (cmd *exec.Cmd, out *buffer) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0], append([]string{ //nolint:gosec // this very program
		"import", "--eventlog-database-url=" + s.url, "--keys-file=" + s.keys,
	}, args...)...)
	out = new(buffer)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = append(os.Environ(), asItself+"=1"), out, out, s.dir
	return cmd, out
}

// run waits for the command's end and returns its exit code and what it said.
func (s *shell) run(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	cmd, out := s.command(t, args...)
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String()
}

// begun starts an import of file and waits until some of it is done.
func (s *shell) begun(t *testing.T, file string) (cmd *exec.Cmd, out *buffer) {
	t.Helper()
	cmd, out = s.command(t, file)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, func() bool { return exists(file + ".progress") })
	return cmd, out
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	require.Eventually(t, done, 20*time.Second, 5*time.Millisecond)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func (s *shell) count(t *testing.T, table string) (n int) {
	t.Helper()
	require.NoError(t, s.db.Pool(t, "").QueryRow(t.Context(), "SELECT count(*) FROM eventlog."+table).Scan(&n))
	return n
}

// lines are n customers.
func lines(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `{"last_name": "L%d", "email": "e%d@example.com", "external_id": "x%d"}`+"\n", i, i, i)
	}
	return out.String()
}

func TestAFileIsImportedAndItsBadLinesAreKept(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	file := s.file(t, "people.ndjson", byteOrderMark+lines(3)+"{\"last_name\": \"nobody\"}\r\n\nnonsense\n"+`{"last_name": "last", "email": "last@example.com"}`)
	code, said := s.run(t, "--dry-run", file)
	require.Equal(t, 1, code, said)
	require.Zero(t, s.count(t, "events"))
	require.FileExists(t, file+".rejects.dry-run.ndjson")

	code, said = s.run(t, file)
	require.Equal(t, 1, code, said)
	require.Contains(t, said, `"registered":4,"updated":0,"unchanged":0,"rejected":2`)
	require.Contains(t, said, "2 lines were rejected: "+file+".rejects.ndjson has each with its reason")
	require.NotContains(t, said, "example.com")
	require.Equal(t, 4, s.count(t, "streams"))
	require.False(t, exists(file+".progress"))
	var actor string
	require.NoError(t, s.db.Pool(t, "").QueryRow(t.Context(), "SELECT DISTINCT metadata->>'actor' FROM eventlog.events").Scan(&actor))
	require.Equal(t, "import", actor)

	kept, err := os.ReadFile(file + ".rejects.ndjson")
	require.NoError(t, err)
	info, err := os.Stat(file + ".rejects.ndjson")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it is personal data")
	var rejects []reject
	for line := range bytes.Lines(kept) {
		var r reject
		require.NoError(t, json.Unmarshal(line, &r))
		rejects = append(rejects, r)
	}
	require.Len(t, rejects, 2)
	require.EqualValues(t, 4, rejects[0].Line)
	require.Equal(t, `{"last_name": "nobody"}`, rejects[0].Original)
	require.Contains(t, string(rejects[0].Problem), `"/email"`)
	require.EqualValues(t, 6, rejects[1].Line)
	require.Equal(t, "nonsense", rejects[1].Original)
	require.Contains(t, string(rejects[1].Problem), `"malformed-json"`)

	_, said = s.run(t, file)
	require.Contains(t, said, `"registered":0,"updated":0,"unchanged":4,"rejected":2`)
	require.Equal(t, 4, s.count(t, "events"), "the same again changes nothing")

	cmd, out := s.command(t, "-")
	cmd.Stdin = strings.NewReader(lines(5))
	require.NoError(t, cmd.Run(), out.String())
	require.Contains(t, out.String(), `"registered":2,"updated":0,"unchanged":3,"rejected":0`)
}

func TestATableSaysTheSameAsLines(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	table := byteOrderMark + "external_id,email,first_name,last_name,phone,locale,tags,metadata.plan,metadata.Note," +
		"address.line1,address.line2,address.city,address.state,address.postal_code,address.country,address.label,address.default_for," +
		"consent.email,consent.email.source,consent.email.wording,consent.sms\r\n" +
		`1,a@example.com,Zoë,"Đặng, ""Z""",+14155552671,vi-VN,vip; newsletter,gold,"two` + "\n" + `lines",1 Rue de Rivoli,,Paris,,75001,FR,home,shipping;billing,yes,crm,We write,0` + "\r\n" +
		"2,b@example.com,Bob" + strings.Repeat(",", 18) + "\r\n" +
		"3,c@example.com,Cut\n" +
		`4,d@example.com,"never closed` + strings.Repeat(",", 18) + "\n" +
		"5,e@example.com,Eve" + strings.Repeat(",", 15) + ",maybe,,,\n"
	file := s.file(t, "people.csv", table)
	code, said := s.run(t, file)
	require.Equal(t, 1, code, said)
	require.Contains(t, said, `"registered":2,"updated":0,"unchanged":0,"rejected":3`)
	kept, err := os.ReadFile(file + ".rejects.ndjson")
	require.NoError(t, err)
	for i, line := range strings.Split(strings.TrimSpace(string(kept)), "\n") {
		require.True(t, strings.HasPrefix(line, fmt.Sprintf(`{"line":%d,`, 5+i)), line)
		require.Contains(t, line, "malformed-request")
	}
	same := s.file(t, "people.ndjson", `{"external_id": "1", "email": "a@example.com", "first_name": "Zoë", "last_name": "Đặng, \"Z\"", "phone": "+14155552671", "locale": "vi-VN",`+
		`"tags": ["vip", "newsletter"], "metadata": {"plan": "gold", "Note": "two\nlines"},`+
		`"addresses": [{"line1": "1 Rue de Rivoli", "city": "Paris", "postal_code": "75001", "country": "FR", "label": "home", "default_for": ["shipping", "billing"]}],`+
		`"consents": {"email": {"granted": true, "source": "crm", "wording": "We write"}, "sms": {"granted": false}}}`+"\n"+
		`{"external_id": "2", "email": "b@example.com", "first_name": "Bob"}`)
	code, said = s.run(t, same)
	require.Equal(t, 0, code, said)
	require.Contains(t, said, `"unchanged":2`)
}

func TestWhatCannotBeImportedIsSaid(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir, empty := filepath.Join(s.dir, "dir"), s.file(t, "empty.ndjson", "")
	require.NoError(t, os.Mkdir(dir, 0o700))
	pipe := filepath.Join(s.dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	good := s.file(t, "good.ndjson", lines(1))
	for name, row := range map[string]struct {
		args []string
		code int
		said string
	}{
		"no such file":    {[]string{filepath.Join(s.dir, "x.ndjson")}, 1, "there is no such file; check its name"},
		"a directory":     {[]string{dir}, 1, "is a directory; name one file in it"},
		"a pipe":          {[]string{pipe}, 1, "command-api import - < " + pipe},
		"empty":           {[]string{empty}, 1, "is empty, so nothing was imported"},
		"gzip":            {[]string{s.file(t, "a.ndjson.gz", "\x1f\x8b\x08xxxxx")}, 1, "gunzip -c "},
		"a spreadsheet":   {[]string{s.file(t, "a.xlsx", "PK\x03\x04xxxx")}, 1, "looks like application/zip; export it"},
		"garbage":         {[]string{s.file(t, "a.bin", "\x00\x01\x02\x03")}, 1, "neither NDJSON nor CSV in UTF-8"},
		"UTF-16":          {[]string{s.file(t, "a.csv", "\xff\xfee\x00m\x00")}, 1, "utf-16le; export it"},
		"a JSON array":    {[]string{s.file(t, "a.json", "[\n{}\n]")}, 1, "jq -c '.[]'"},
		"no columns":      {[]string{s.file(t, "b.csv", "name,email,email\n")}, 1, `column "name" is not known` + "\n" + `column "email" is there twice` + "\nSee command-api import --help"},
		"no e-mail":       {[]string{s.file(t, "c.csv", "last_name\n")}, 1, "there is no column email"},
		"its own rejects": {[]string{"--rejects", good, good}, 1, "is " + good + " itself"},
		"no file":         {nil, 2, `expected "<file>"`},
		"an unknown flag": {[]string{"--resume", good}, 2, "--resume"},
	} {
		code, said := s.run(t, row.args...)
		require.Equal(t, row.code, code, "%s: %s", name, said)
		require.Contains(t, said, row.said, name)
	}
	require.True(t, exists(good))
	require.Zero(t, s.count(t, "events"))
	_, help := s.run(t, "--help")
	for _, part := range []string{"consent.CHANNEL.source", "address.line1", "metadata.KEY", "--restart", "exit code"} {
		require.Contains(t, help, part)
	}
}

const many = 15_000

func TestAnImportGoesOnWhereItWasKilled(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	file := s.file(t, "people.ndjson", "{}\n"+lines(many))
	cmd, _ := s.begun(t, file)
	other, said := s.run(t, file)
	require.Equal(t, 1, other)
	require.Contains(t, said, "is being imported by another process")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	landed := s.count(t, "streams")
	require.Less(t, landed, many)
	require.Positive(t, landed)

	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	s.file(t, "people.ndjson", string(whole)+`{"last_name": "one more", "email": "more@example.com"}`)
	code, said := s.run(t, file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "the file has changed since line")
	require.Contains(t, said, "--restart")
	require.NoError(t, os.WriteFile(file, whole, 0o600))

	rejects := file + ".rejects.ndjson"
	was, err := os.ReadFile(rejects)
	require.NoError(t, err)
	require.NoError(t, os.Remove(rejects))
	code, said = s.run(t, file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "does not have the rejects of the runs before")
	require.NoError(t, os.WriteFile(rejects, append(was, "of a line after the last save\n"...), 0o600))

	code, said = s.run(t, file)
	require.Equal(t, 1, code, "the first line is still rejected: %s", said)
	require.Equal(t, []int{many, many, 2 * many}, []int{s.count(t, "streams"), s.count(t, "events"), s.count(t, "claims")})
	is, err := os.ReadFile(rejects)
	require.NoError(t, err)
	require.Equal(t, string(was), string(is))
}

func TestAnInterruptedImportSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	file := s.file(t, "people.ndjson", lines(many))
	cmd, out := s.begun(t, file)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, out.String(), "interrupted\nrun the same command again to go on behind line ")
	landed := s.count(t, "streams")
	require.Less(t, landed, many)
	text, err := os.ReadFile(file + ".progress")
	require.NoError(t, err)
	var p progress
	require.NoError(t, json.Unmarshal(text, &p))
	require.LessOrEqual(t, int(p.Line), landed)
	require.Contains(t, out.String(), fmt.Sprintf("behind line %d\n", p.Line))

	require.NoError(t, os.WriteFile(file+".progress", text[:10], 0o600))
	code, said := s.run(t, file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "--restart begins anew")
	code, said = s.run(t, "--restart", file)
	require.Equal(t, 0, code, said)
	require.Equal(t, many, s.count(t, "events"))
}

func TestAnImportWaitsForALogThatIsAway(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	u, err := url.Parse(s.db.URL)
	require.NoError(t, err)
	pg := newLink(t, u.Host)
	u.Host = pg.ln.Addr().String()
	s.url = u.String()
	file := s.file(t, "people.ndjson", lines(many))
	cmd, out := s.command(t, file)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	said := func() int { return strings.Count(out.String(), "waiting for the event log") }
	eventually(t, func() bool { return said() > 0 })
	pg.set(true)
	eventually(t, func() bool { return exists(file + ".progress") })
	pg.set(false)
	before := said()
	eventually(t, func() bool { return said() > before })
	pg.set(true)
	require.NoError(t, cmd.Wait(), out.String())
	require.Equal(t, []int{many, many}, []int{s.count(t, "streams"), s.count(t, "events")})
}

func TestABarIsDrawnOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := &input{fingerprint: fingerprint{Size: 1000}, begun: time.Now().Add(-10 * time.Second), problems: commandapi.NewLineProblems()}
	in.saved = time.Now()
	require.NoError(t, in.done([]imports.Result{{Record: imports.Record{Line: 7, Last: 7, End: 250}, Status: imports.Registered}}))
	s := newShown(&out, true, nil, in)
	s.update(t.Context())
	require.Regexp(t, `^\r\x1b\[K\[#######\.{23}\]  25%  1 lines  0/s  0 rejected  30s left$`, out.String())
	out.Reset()
	s.waiting(t.Context(), os.ErrDeadlineExceeded)
	s.waiting(t.Context(), os.ErrDeadlineExceeded)
	require.Equal(t, 1, strings.Count(out.String(), "waiting up to 2m0s for the event log"), out.String())
	s.end(t.Context(), nil)
	require.Contains(t, out.String(), "1 registered, 0 updated, 0 unchanged, 0 rejected in 10")
}
