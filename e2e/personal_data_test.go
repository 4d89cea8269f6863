package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/e2e/cluster"
)

// Customers with a mark in every field go through every path, the failing ones
// included. No mark, in any common encoding, is in the log's tables, in a
// message, in RabbitMQ's files, in a Redis key's name, in a log line or in the
// body of an error.
func TestNoPersonalDataOutsideTheReadModel(t *testing.T) {
	c := cluster.New(t, stack, cluster.Size{})
	client := c.NewClient()
	ctx := cluster.Within(t, 2*time.Minute)
	messages := spy(t, c)

	var marks []string
	var problems bytes.Buffer
	for range 20 {
		p := newFullPerson()
		marks = append(marks, personalValues(p)...)
		key := "key-of-" + p.Email // clients put anything into a key
		written, err := client.Write(ctx, http.MethodPost, "/v1/customers", p.json(), "Idempotency-Key", key)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, written.Status, "%s", written.Body)
		path := written.Header.Get("Location")

		again := newFullPerson()
		again.Email = strings.ToUpper(p.Email)
		marks = append(marks, personalValues(again)...)
		taken, err := client.Write(ctx, http.MethodPost, "/v1/customers", again.json())
		require.NoError(t, err)
		requireProblem(t, taken, http.StatusConflict, "email-taken")
		problems.Write(taken.Body)

		changed := newPerson()
		marks = append(marks, personalValues(changed)...)
		for _, bad := range []string{
			`{"first_name":` + quoted(changed.FirstName) + `,"unknown ` + changed.LastName + `":1}`,
			`{"email":` + quoted(changed.LastName) + `}`,
			`{"first_name":` + quoted(changed.FirstName) + `,"first_name":"x"}`,
			`{"last_name":"` + changed.LastName + `"`,
			`{"phone":` + quoted(changed.Email) + `}`,
			`{"metadata":{` + quoted(changed.Email) + `:1}}`,
		} {
			refused, err := client.Write(ctx, http.MethodPatch, path, bad)
			require.NoError(t, err)
			require.GreaterOrEqual(t, refused.Status, 400)
			require.Less(t, refused.Status, 500, "%s", refused.Body)
			problems.Write(refused.Body)
		}
		for _, query := range []string{"?email=" + url.QueryEscape(changed.Email), "/" + url.PathEscape(changed.Email)} {
			refused, err := client.Read(ctx, path+query)
			require.NoError(t, err)
			require.GreaterOrEqual(t, refused.Status, 400)
			problems.Write(refused.Body)
		}
		written, err = client.Write(ctx, http.MethodPatch, path, changed.json())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, written.Status, "%s", written.Body)
		read, err := client.Read(ctx, path, "Consistency-Token", written.Token())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, read.Status)
		require.Contains(t, string(read.Body), changed.Email, "the marks are what the service stores")
	}

	search := newSearch(marks)
	for _, table := range []string{"events", "claims", "idempotency", "streams", "subject_keys", "snapshots"} {
		var text string
		require.NoError(t, c.EventLog().QueryRow(ctx, `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM eventlog.`+table+` t`).Scan(&text))
		if table == "events" || table == "claims" || table == "idempotency" {
			require.NotEmpty(t, text, "table %s was not scanned", table)
		}
		search.in(t, "table "+table, []byte(text))
	}
	captured := messages()
	require.NotEmpty(t, captured, "no message was captured")
	for _, m := range captured {
		headers, err := json.Marshal(m.Headers)
		require.NoError(t, err)
		search.in(t, "a message", []byte(m.RoutingKey+m.MessageId+m.Type+string(headers)+string(m.Body)))
	}
	search.inFiles(t, c.Stack.RabbitMQ().DataDir())
	for _, p := range c.Processes() {
		text, err := os.ReadFile(p.Log)
		require.NoError(t, err)
		require.NotEmpty(t, text, "the log of %s was not scanned", p.Name)
		search.in(t, "the log of "+p.Name, text)
	}
	for _, s := range []string{c.Stack.Postgres().LogFile(), c.Stack.RabbitMQ().LogFile(), c.Stack.Redis().LogFile()} {
		text, err := os.ReadFile(s)
		require.NoError(t, err)
		search.in(t, s, text)
	}
	search.in(t, "the bodies of errors", problems.Bytes())
	search.in(t, "the names of Redis keys", []byte(strings.Join(redisKeys(t, c), "\n")))
	t.Logf("%d marks in %d encodings: 0 found in %d messages, tables, files and logs", len(marks), len(forms(marks))/len(marks), len(captured))
}

func personalValues(p person) []string {
	all := []string{p.FirstName, p.LastName, p.Email}
	if p.ExternalID != "" {
		mark := strings.TrimPrefix(p.ExternalID, "crm-")
		all = append(all, p.Phone, p.ExternalID, "Street "+mark, "City "+mark, "label "+mark, "tag-"+mark,
			"key"+mark, "value "+mark, "source "+mark, "wording "+mark)
	}
	return all
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// needles are what is looked for, found by their first four bytes: there are
// thousands of them, and hundreds of megabytes to look through.
type needles struct {
	by    map[[4]byte][][]byte
	maybe []bool // by a hash of those bytes: false for nearly every place
}

func slotOf(head []byte) uint32 { return binary.LittleEndian.Uint32(head) * 0x9E3779B1 >> 12 }

func (s needles) add(needle []byte) {
	head := [4]byte(needle)
	s.by[head] = append(s.by[head], needle)
	s.maybe[slotOf(needle)] = true
}

// newSearch looks for each mark in all its forms.
func newSearch(marks []string) needles {
	s := needles{by: make(map[[4]byte][][]byte), maybe: make([]bool, 1<<20)}
	for _, f := range forms(marks) {
		s.add(f)
	}
	return s
}

// forms are each mark as it is, in lower and upper case, as base64 at each of
// its three alignments, as hex and as a URL has it.
func forms(marks []string) (all [][]byte) {
	for _, m := range marks {
		texts := []string{m, strings.ToLower(m), strings.ToUpper(m), hex.EncodeToString([]byte(m)), url.QueryEscape(m), url.PathEscape(m)}
		for shift := range 3 {
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), m...))
			// The first and last characters share bits with the neighbours.
			texts = append(texts, encoded[(shift*8+5)/6:len(encoded)-2])
		}
		for _, text := range texts {
			all = append(all, []byte(text))
		}
	}
	return all
}

func (s needles) in(t *testing.T, where string, text []byte) {
	t.Helper()
	for i := 0; i+4 <= len(text); i++ {
		if !s.maybe[slotOf(text[i:])] {
			continue
		}
		for _, n := range s.by[[4]byte(text[i:i+4])] {
			if bytes.HasPrefix(text[i:], n) {
				t.Errorf("%s holds %q: …%q…", where, n, text[max(0, i-60):min(len(text), i+60)])
			}
		}
	}
}

func (s needles) inFiles(t *testing.T, dir string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		s.in(t, path, text)
		return nil
	}))
	require.NotZero(t, files, "no file in %s was scanned", dir)
}

// spy captures a copy of every message of the feed.
func spy(t *testing.T, c *cluster.Cluster) func() []amqp.Delivery {
	t.Helper()
	conn, err := amqp.Dial(c.Stack.URLs().AMQP)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	queue, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	for _, key := range laneKeys() {
		require.NoError(t, ch.QueueBind(queue.Name, key, feedExchange(c), false, nil))
	}
	return func() []amqp.Delivery {
		var all []amqp.Delivery
		for {
			m, ok, err := ch.Get(queue.Name, true)
			require.NoError(t, err)
			if !ok {
				return all
			}
			all = append(all, m)
		}
	}
}
