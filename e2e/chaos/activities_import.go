package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
)

// importLines is how many customers one file has: several batches, and short
// enough to be imported a few times over in a run.
const importLines = 2000

// ImportActor is who imports are recorded as done by, in every event of theirs.
const ImportActor = "import-beside"

// Imported is a file that was imported: each of its customers must be there once.
type Imported struct {
	File  string
	Rows  []ImportedRow
	Ended bool // before which a row may be there or not
}

// ImportedRow is one line. Nobody else registers its external id or e-mail.
type ImportedRow struct {
	ExternalID string `json:"external_id"`
	Email      string `json:"email"`
	LastName   string `json:"last_name"`
}

// Imported are the files so far.
func (a *Activities) Imported() []Imported {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.imported)
}

// newImport writes a file and imports it, again and again from where the run
// before was killed.
func (a *Activities) newImport(in *Injection) (task, error) {
	a.mu.Lock()
	number := len(a.imported)
	a.mu.Unlock()
	one := Imported{File: a.file(fmt.Sprintf("import-%d.ndjson", number+1))}
	mark := fmt.Sprintf("%08x", in.Rand.Uint32())
	var text strings.Builder
	lines := json.NewEncoder(&text)
	for i := range importLines {
		row := ImportedRow{
			ExternalID: fmt.Sprintf("beside-%d-%s-%d", number+1, mark, i),
			Email:      fmt.Sprintf("beside.%d.%s.%d@example.net", number+1, mark, i), LastName: fmt.Sprintf("Beside %d", i),
		}
		one.Rows = append(one.Rows, row)
		if err := lines.Encode(row); err != nil {
			return task{}, err
		}
	}
	if err := write(one.File, text.String()); err != nil {
		return task{}, err
	}
	a.mu.Lock()
	a.imported = append(a.imported, one)
	a.mu.Unlock()
	return task{
		name: "command-api import",
		start: func(ctx context.Context, _ string) *exec.Cmd {
			return a.command(ctx, "command-api", false, "import", one.File, "--actor", ImportActor)
		},
		points: []crash.Point{crash.ImportBeforeCommit, crash.ImportAfterCommit, crash.ImportBetweenBatches},
		never:  "were rejected",
		ended: func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.imported[number].Ended = true
		},
	}, nil
}

const (
	// Each customer of an import is one registration and nothing else.
	countImported = `
SELECT count(*), count(DISTINCT customer_id) FROM eventlog.events WHERE metadata ->> 'actor' = $1`
	askLimit = 10 * time.Second
)

// CheckImported counts, once all files have ended, what is not there exactly
// once: in the log as a whole, and some rows of each file by their external ids
// through a query API. It returns how many rows it held to that.
func (a *Activities) CheckImported(ctx context.Context, perFile int) (checked int64, violations []string, err error) {
	var want int64
	for _, one := range a.Imported() {
		if !one.Ended {
			return 0, nil, fmt.Errorf("%s has not been imported to its end", one.File)
		}
		want += int64(len(one.Rows))
	}
	var events, customers int64
	if err := a.cluster.EventLog().QueryRow(ctx, countImported, ImportActor).Scan(&events, &customers); err != nil {
		return 0, nil, err
	}
	if events != want || customers != want {
		violations = append(violations, fmt.Sprintf("%d customers were imported, and the log has %d with %d events", want, customers, events))
	}
	for _, one := range a.Imported() {
		for i := range min(perFile, len(one.Rows)) {
			row := one.Rows[i*len(one.Rows)/perFile]
			emails, askErr := a.ask(ctx, row.ExternalID)
			if askErr != nil {
				err = errors.Join(err, askErr)
				continue
			}
			if !slices.Equal(emails, []string{row.Email}) {
				violations = append(violations, fmt.Sprintf("external id %s belongs to %v, want %s", row.ExternalID, emails, row.Email))
			}
		}
	}
	return want, violations, err
}

// ask lists the e-mail addresses of the customers with an external id.
func (a *Activities) ask(ctx context.Context, externalID string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	at := a.cluster.Queries[0].URL() + "/v1/customers?external_id=" + url.QueryEscape(externalID)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("list by external id: %d %s", res.StatusCode, body))
	}
	var page struct{ Data []struct{ Email string } }
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	var emails []string
	for _, item := range page.Data {
		emails = append(emails, item.Email)
	}
	return emails, nil
}
