package eventlog_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

const noticeGolden = `{"position":42,"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11","type":"customer.email_changed",` +
	`"customer_id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10","version":4,"changed":["email"],"time":"2026-01-15T10:31:07.5Z",` +
	`"token":"AQGSDlx6PnwRm1MvD2scmhAEUD5yQQ"}`

func notice() eventlog.Notice {
	return eventlog.Notice{
		Position: 42, ID: uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11"), Type: "customer.email_changed",
		CustomerID: uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"), Version: 4, Changed: []string{"email"},
		Time: time.Date(2026, 1, 15, 10, 31, 7, 500_000_000, time.UTC), TraceParent: "not in the body",
	}
}

func TestNoticeHasOneForm(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(notice())
	require.NoError(t, err)
	require.Equal(t, noticeGolden, string(body))
	var back eventlog.Notice
	require.NoError(t, json.Unmarshal(body, &back))
	want := notice()
	want.TraceParent = ""
	require.Equal(t, want, back)

	var empty eventlog.Notice
	want.Changed = nil
	body, err = json.Marshal(want)
	require.NoError(t, err)
	require.Contains(t, string(body), `"changed":[]`)
	require.NoError(t, json.Unmarshal(body, &empty))
}

func TestMalformedNoticesAreRefused(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"array": `[]`, "number": `1`, "empty": `{}`, "null": `null`,
		"no position": `{"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11"}`,
		"other token": `{"position":42,"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11","type":"customer.email_changed",
			"customer_id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10","version":5,"changed":["email"],"time":"2026-01-15T10:31:07.5Z",
			"token":"AQGSDlx6PnwRm1MvD2scmhAEUD5yQQ"}`,
	} {
		var n eventlog.Notice
		require.ErrorIs(t, n.UnmarshalJSON([]byte(body)), eventlog.ErrMalformedNotice, name)
	}
}

func FuzzNotice(f *testing.F) {
	f.Add([]byte(noticeGolden))
	f.Add([]byte(`{"position":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var n eventlog.Notice
		if n.UnmarshalJSON(body) != nil {
			return
		}
		again, err := json.Marshal(n)
		if err != nil { // a year beyond 9999 has no RFC 3339 form
			return
		}
		var back eventlog.Notice
		require.NoError(t, json.Unmarshal(again, &back))
		require.Equal(t, n, back)
	})
}
