package eventlog_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	for _, v := range []customer.Version{1, 127, 128, 1 << 40} {
		want := eventlog.Token{CustomerID: uuid.Must(uuid.NewV7()), Version: v}
		got, err := eventlog.ParseToken(want.String())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestTokenRefusesAnyChangedCharacter(t *testing.T) {
	t.Parallel()
	s := eventlog.Token{CustomerID: uuid.Must(uuid.NewV7()), Version: 7}.String()
	for i := range s {
		b := []byte(s)
		b[i] = 'A' + (b[i]+1-'A')%26
		if string(b) == s {
			continue
		}
		_, err := eventlog.ParseToken(string(b))
		require.ErrorIs(t, err, eventlog.ErrInvalidToken, "character %d", i)
		_, err = eventlog.ParseToken(s[:i])
		require.ErrorIs(t, err, eventlog.ErrInvalidToken, "cut at %d", i)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(eventlog.Token{CustomerID: uuid.Must(uuid.NewV7()), Version: 3}.String())
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := eventlog.ParseToken(s)
		if err != nil {
			return
		}
		require.Equal(t, s, tok.String())
		require.Positive(t, tok.Version)
	})
}
