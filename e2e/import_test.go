package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// importedVariable chooses how many customers TestAnImportSurvivesKills imports.
const importedVariable = "E2E_IMPORT_CUSTOMERS"

// rejectedEvery is which lines of its file are faulty.
const rejectedEvery = 1000

func imported(t *testing.T) int {
	t.Helper()
	text, set := os.LookupEnv(importedVariable)
	if !set {
		return 40_000
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, importedVariable)
	return n
}

// importedPerson is the customer of line i, who can be told by the e-mail address.
func importedPerson(i int) person {
	return person{
		FirstName: "Zoë", LastName: fmt.Sprintf("Đặng %d", i), Email: fmt.Sprintf("zoe.%d@example.com", i),
		Phone: fmt.Sprintf("+1415555%04d", 2000+i%8000), Locale: "vi-VN", ExternalID: fmt.Sprintf("crm-%08d", i),
		Tags: []string{"vip", "newsletter"}, Metadata: map[string]string{"plan": "gold"},
	}
}

// writeImport writes a file in which every rejectedEvery'th line has no e-mail
// address, besides n customers.
func writeImport(t *testing.T, n int) (path string, faulty []int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "customers.ndjson")
	file, err := os.Create(path)
	require.NoError(t, err)
	out := bufio.NewWriter(file)
	line := int64(0)
	for i := range n {
		if line++; line%rejectedEvery == 0 {
			faulty = append(faulty, line)
			_, err = fmt.Fprintln(out, `{"last_name": "Nobody"}`)
			require.NoError(t, err)
			line++
		}
		_, err = fmt.Fprintln(out, importedPerson(i).json())
		require.NoError(t, err)
	}
	require.NoError(t, out.Flush())
	require.NoError(t, file.Close())
	return path, faulty
}

// A file is imported by a process that is killed at least twice, at random
// moments, and started again each time. Nobody is lost, doubled or changed by it.
func TestAnImportSurvivesKills(t *testing.T) {
	n := imported(t)
	c := cluster.New(t, stack, cluster.Size{})
	ctx := cluster.Within(t, 20*time.Minute)
	file, faulty := writeImport(t, n)
	began, kills := time.Now(), 0
	for landed := 0; landed < 2*n/3; {
		cmd := c.Command(ctx, "command-api", "import", file)
		require.NoError(t, cmd.Start())
		at := landed + 1 + rand.IntN(n/5) // never so late that it may end before it is killed
		require.NoError(t, cluster.Poll(ctx, 5*time.Millisecond, func() bool {
			require.NoError(t, c.EventLog().QueryRow(ctx, "SELECT count(*) FROM eventlog.streams").Scan(&landed))
			return landed >= at
		}))
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed")
		kills++
		t.Logf("killed with %d in the log, progress saved behind line %d, %s after the start", landed, saved(file), time.Since(began).Round(time.Millisecond))
	}
	out, err := c.Command(ctx, "command-api", "import", file).CombinedOutput()
	took := time.Since(began)
	exited, ok := err.(*exec.ExitError) //nolint:errorlint // as exec returns it
	require.True(t, ok, "%v: %s", err, out)
	require.Equal(t, 1, exited.ExitCode(), "some lines were rejected: %s", out)
	require.Contains(t, string(out), fmt.Sprintf("%d lines were rejected", len(faulty)))
	require.NoFileExists(t, file+".progress")
	t.Logf("%d customers in %s, killed %d times: %.0f/s", n, took.Round(time.Millisecond), kills, float64(n)/took.Seconds())

	require.Equal(t, []int{n, n, n, 2 * n}, inLog(ctx, t, c), "streams, events, keys, claims: each customer is there once")
	require.Equal(t, faulty, rejected(t, file+".rejects.ndjson"))
	requireImportedReadable(ctx, t, c, n)

	out, err = c.Command(ctx, "command-api", "import", file).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), fmt.Sprintf(`"registered":0,"updated":0,"unchanged":%d,"rejected":%d`, n, len(faulty)))
	require.Equal(t, n, inLog(ctx, t, c)[1], "importing the same again makes no event")
}

// saved is the line that FILE.progress names; zero without it.
func saved(file string) int64 {
	var p struct{ Line int64 }
	text, err := os.ReadFile(file + ".progress")
	if err != nil || json.Unmarshal(text, &p) != nil {
		return 0
	}
	return p.Line
}

// inLog counts streams, events, keys and claims.
func inLog(ctx context.Context, t *testing.T, c *cluster.Cluster) []int {
	t.Helper()
	counts := make([]int, 4)
	require.NoError(t, c.EventLog().QueryRow(ctx, `
		SELECT (SELECT count(*) FROM eventlog.streams), (SELECT count(*) FROM eventlog.events),
		       (SELECT count(*) FROM eventlog.subject_keys), (SELECT count(*) FROM eventlog.claims)`).
		Scan(&counts[0], &counts[1], &counts[2], &counts[3]))
	return counts
}

func rejected(t *testing.T, path string) (lines []int64) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		var r struct {
			Line     int64
			Original string
			Problem  struct{ Code string }
		}
		require.NoError(t, json.Unmarshal(line, &r), "%s", line)
		require.Equal(t, "validation-failed", r.Problem.Code)
		require.JSONEq(t, `{"last_name": "Nobody"}`, r.Original)
		lines = append(lines, r.Line)
	}
	return lines
}

// requireImportedReadable compares all with the log, and some with the file.
func requireImportedReadable(ctx context.Context, t *testing.T, c *cluster.Cluster, n int) {
	t.Helper()
	began := time.Now()
	require.NoError(t, cluster.Poll(ctx, 50*time.Millisecond, func() bool {
		left, err := behind(ctx, c)
		return err == nil && left == 0
	}))
	t.Logf("all in the read model %s later", time.Since(began).Round(time.Millisecond))
	requireReadModelEqualsLog(t, c)
	var documents int
	require.NoError(t, c.ReadModel().QueryRow(ctx, "SELECT count(*) FROM readmodel.documents").Scan(&documents))
	require.Equal(t, n, documents)

	rows, err := c.EventLog().Query(ctx, "SELECT customer_id::text FROM eventlog.streams ORDER BY random() LIMIT 500")
	require.NoError(t, err)
	var ids []string
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	client := c.NewClient()
	for _, id := range ids {
		a, err := client.Read(ctx, "/v1/customers/"+id)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
		var d person
		require.NoError(t, json.Unmarshal(a.Body, &d))
		i, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(d.Email, "zoe."), "@example.com"))
		require.NoError(t, err, d.Email)
		d.Addresses, d.Consents = nil, nil // of which nothing was imported
		want := importedPerson(i)
		want.Tags = []string{"newsletter", "vip"} // in their order
		require.ElementsMatch(t, want.Tags, d.Tags)
		d.Tags = want.Tags
		require.Equal(t, want, d)
	}
}

// However much a client sends, what a process holds of it stays the same.
func TestAnImportOfAnyLengthNeedsLittleMemory(t *testing.T) {
	const (
		lines   = 2200
		atLeast = 50 << 20 // bytes in all
		allowed = 128      // MiB more than before, the collector's slack included
	)
	c := cluster.New(t, stack, cluster.Size{})
	ctx := cluster.Within(t, 2*time.Minute)
	p := c.Commands[0]
	before := p.PeakMiB()
	metadata := make(map[string]string, 50)
	for i := range 50 {
		metadata[fmt.Sprintf("key%d", i)] = strings.Repeat("v", 500)
	}
	body, sent := io.Pipe()
	total := make(chan int, 1)
	go func() {
		n := 0
		for i := range lines {
			one := importedPerson(i)
			one.Metadata = metadata
			w, err := io.WriteString(sent, one.json()+"\n")
			if err != nil {
				break
			}
			n += w
		}
		_ = sent.Close()
		total <- n
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/v1/customers/import", body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-ndjson")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	answers := bufio.NewScanner(res.Body)
	n := 0
	for answers.Scan() {
		require.Contains(t, answers.Text(), `"status":"registered"`)
		n++
	}
	require.NoError(t, answers.Err())
	require.Equal(t, lines, n)
	bytesSent := <-total
	require.Greater(t, bytesSent, atLeast)
	after := p.PeakMiB()
	t.Logf("%d MiB imported in %s: at most %d MiB resident, %d before", bytesSent>>20, time.Since(began).Round(time.Millisecond), after, before)
	require.Less(t, after-before, int64(allowed))
}
