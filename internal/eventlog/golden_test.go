package eventlog

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// golden is one event as it is stored, its personal part in the clear.
type golden struct {
	Data     json.RawMessage `json:"data"`
	Personal json.RawMessage `json:"personal,omitempty"`
}

// clear seals nothing, for tests of what is inside.
type unsealed struct{}

func (unsealed) Seal(plaintext, _ []byte) ([]byte, error) { return plaintext, nil }
func (unsealed) Open(sealed, _ []byte) ([]byte, error)    { return sealed, nil }

var (
	sampleTime = time.Date(2026, 3, 1, 9, 30, 0, 123456000, time.UTC)
	sampleHome = uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10")
	sampleWork = uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11")
)

// samples has one event of each type with every value set, by golden file.
func samples() map[string]customer.Event {
	at := customer.At{Time: sampleTime}
	home := customer.Address{
		ID: sampleHome, Line1: "1 Rue de Rivoli", Line2: "3e étage", City: "Paris", State: "Île-de-France", PostalCode: "75001",
		Country: "FR", Label: "home", DefaultFor: []customer.AddressUse{customer.UseBilling, customer.UseShipping},
	}
	work := customer.Address{ID: sampleWork, Line1: "Unter den Linden 1", City: "Berlin", PostalCode: "10117", Country: "DE"}
	return map[string]customer.Event{
		"customer.registered.v1": customer.Registered{
			At: at, FirstName: "Zoë", LastName: "Đặng", Email: "zoe@example.com", Phone: "+14155552671", Locale: "vi-VN",
			ExternalID: "crm-0042", Addresses: []customer.Address{home, work}, Tags: []customer.Tag{"beta", "vip"},
			Metadata: map[string]string{"plan": "gold", "<&>": "\u2028"},
			Consents: map[customer.Channel]customer.Consent{
				customer.ChannelEmail: {Granted: true, At: sampleTime, Source: "checkout", Wording: "Yes, write to me."},
				customer.ChannelPost:  {At: sampleTime, Source: "checkout", Wording: "No letters."},
			},
		},
		"customer.renamed.v1":             customer.Renamed{At: at, FirstName: "Zoë", LastName: "Đặng"},
		"customer.email_changed.v1":       customer.EmailChanged{At: at, Email: "zoe@bücher.example"},
		"customer.phone_changed.v1":       customer.PhoneChanged{At: at, Phone: "+14155552671"},
		"customer.locale_changed.v1":      customer.LocaleChanged{At: at, Locale: "vi-VN"},
		"customer.external_id_changed.v1": customer.ExternalIDChanged{At: at, ExternalID: "crm-0042"},
		"customer.address_added.v1":       customer.AddressAdded{At: at, Address: home},
		"customer.address_changed.v1":     customer.AddressChanged{At: at, Address: home},
		"customer.address_removed.v1":     customer.AddressRemoved{At: at, AddressID: sampleHome},
		"customer.tagged.v1":              customer.Tagged{At: at, Tag: "vip"},
		"customer.untagged.v1":            customer.Untagged{At: at, Tag: "vip"},
		"customer.metadata_changed.v1": customer.MetadataChanged{
			At: at, Set: map[string]string{"plan": "gold", "note": "tea"}, Removed: []string{"old"},
		},
		"customer.consent_granted.v1": customer.ConsentGranted{
			At: at, Channel: customer.ChannelSMS, Source: "checkout", Wording: "Yes, text me.",
		},
		"customer.consent_withdrawn.v1": customer.ConsentWithdrawn{
			At: at, Channel: customer.ChannelSMS, Source: "call", Wording: "No more texts.",
		},
		"customer.suspended.v1":  customer.Suspended{At: at, Reason: "chargeback"},
		"customer.reinstated.v1": customer.Reinstated{At: at},
		"customer.deleted.v1":    customer.Deleted{At: at},
		"customer.restored.v1":   customer.Restored{At: at},
		"customer.erased.v1":     customer.Erased{At: at, Actor: "privacy-desk", Reason: "request 17", KeyID: "0123456789abcdef0123456789abcdef"},
	}
}

// TestGolden decodes every stored form there ever was, folds it, and fails
// when the present one changes without a new version.
func TestGolden(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	want := samples()
	require.Len(t, want, len(schemas()), "one sample for each type")
	for file, e := range want {
		path := filepath.Join("testdata", "events", file+".json")
		if _, err := os.Stat(path); *update && os.IsNotExist(err) {
			writeGolden(t, codec, path, e)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "events", "*.json"))
	require.NoError(t, err)
	var seen []string
	for _, path := range files {
		file := strings.TrimSuffix(filepath.Base(path), ".json")
		seen = append(seen, file)
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			env := readGolden(t, path)
			entry, err := codec.Decode(env, unsealed{})
			require.NoError(t, err)
			state := customer.State{}.Evolve(entry.Event)
			require.Equal(t, customer.Version(1), state.Version())

			e, present := want[file]
			if !present {
				return // an old version: that it still decodes and folds is all
			}
			require.Equal(t, e, entry.Event)
			again, err := codec.Encode(e, Place{EventID: env.EventID, CustomerID: env.CustomerID, Version: 1}, unsealed{})
			require.NoError(t, err)
			require.Equal(t, env.Type, again.Type)
			require.Equal(t, env.SchemaVersion, again.SchemaVersion)
			require.Equal(t, string(env.Data), string(again.Data), "the stored form changed: raise the version and write an upcaster")
			require.Equal(t, string(env.Personal), string(again.Personal), "the stored form changed: raise the version and write an upcaster")
		})
	}
	require.Subset(t, seen, slices.Sorted(maps.Keys(want)), "run with -update to write a new event's file")
}

func readGolden(t *testing.T, path string) Envelope {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(content, &g))
	name, version, found := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".json"), ".v")
	require.True(t, found)
	env := Envelope{CustomerID: uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a12"), Version: 1, Type: name, RecordedAt: sampleTime}
	_, err = fmt.Sscan(version, &env.SchemaVersion)
	require.NoError(t, err)
	env.Data = compact(t, g.Data)
	if g.Personal != nil {
		env.Personal = compact(t, g.Personal)
	}
	return env
}

func writeGolden(t *testing.T, codec *Codec, path string, e customer.Event) {
	t.Helper()
	env, err := codec.Encode(e, Place{}, unsealed{})
	require.NoError(t, err)
	content, err := json.MarshalIndent(golden{Data: env.Data, Personal: env.Personal}, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(content, '\n'), 0o600))
}

func compact(t *testing.T, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, json.Compact(&out, raw))
	return out.Bytes()
}
