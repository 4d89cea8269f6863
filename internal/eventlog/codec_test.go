package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// bound is a stand-in for a key that checks the associated data and hides the
// text, without a cipher.
type bound struct{}

func (bound) Seal(plaintext, associated []byte) ([]byte, error) {
	return append(append([]byte{byte(len(associated))}, associated...), flip(plaintext)...), nil
}

func (bound) Open(sealed, associated []byte) ([]byte, error) {
	prefix := append([]byte{byte(len(associated))}, associated...)
	if !bytes.HasPrefix(sealed, prefix) {
		return nil, errors.New("sealed for another place")
	}
	return flip(sealed[len(prefix):]), nil
}

func flip(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0xff
	}
	return out
}

func samplePlace() Place {
	return Place{
		EventID: uuid.Must(uuid.NewV7()), CustomerID: uuid.Must(uuid.NewV7()), Version: 7,
		Metadata: Metadata{Actor: "crm", CorrelationID: "c-1", TraceParent: "00-…", CommandID: uuid.Must(uuid.NewV7())},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	for name, e := range samples() {
		p := samplePlace()
		env, err := codec.Encode(e, p, bound{})
		require.NoError(t, err, name)
		require.Equal(t, sampleTime, env.RecordedAt)
		got, err := codec.Decode(env, bound{})
		require.NoError(t, err, name)
		require.Equal(t, Entry{EventID: p.EventID, CustomerID: p.CustomerID, Version: 7, Event: e, Metadata: p.Metadata}, got)
		fields, err := Changed(env)
		require.NoError(t, err)
		require.Equal(t, customer.Changed(e), fields, name)
	}
}

func TestEmptyValuesRoundTrip(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	at := customer.At{Time: sampleTime}
	for _, e := range []customer.Event{
		customer.Registered{At: at},
		customer.Renamed{At: at},
		customer.PhoneChanged{At: at},
		customer.MetadataChanged{At: at},
		customer.Suspended{At: at},
		customer.Erased{At: at},
	} {
		env, err := codec.Encode(e, samplePlace(), bound{})
		require.NoError(t, err)
		got, err := codec.Decode(env, bound{})
		require.NoError(t, err)
		require.Equal(t, e, got.Event)
	}
}

// TestDataNamesNobody: no string of the samples that a person typed may be
// readable without the key.
func TestDataNamesNobody(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	structural := map[string]bool{
		sampleHome.String(): true, sampleWork.String(): true,
		"email": true, "sms": true, "post": true, // channels
	}
	for name, e := range samples() {
		env, err := codec.Encode(e, samplePlace(), bound{})
		require.NoError(t, err)
		if _, erased := e.(customer.Erased); erased {
			require.Nil(t, env.Personal, "an erased customer has no key")
			continue
		}
		for _, s := range stringsIn(reflect.ValueOf(e)) {
			if s != "" && !structural[s] {
				require.NotContains(t, string(env.Data), s, name)
				require.NotContains(t, string(env.Personal), s, name)
			}
		}
	}
}

func TestShredded(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	for name, e := range samples() {
		env, err := codec.Encode(e, samplePlace(), bound{})
		require.NoError(t, err)
		got, err := codec.Decode(env, nil)
		require.NoError(t, err, name)
		require.Equal(t, env.Personal != nil, got.Shredded, name)
		require.IsType(t, e, got.Event)
		require.Equal(t, sampleTime, got.Event.OccurredAt())
		if !got.Shredded {
			require.Equal(t, e, got.Event)
		}
		switch e := got.Event.(type) {
		case customer.Registered:
			require.Equal(t, []customer.Address{{ID: sampleHome}, {ID: sampleWork}}, e.Addresses)
			require.Equal(t, map[customer.Channel]customer.Consent{
				customer.ChannelEmail: {Granted: true, At: sampleTime},
				customer.ChannelPost:  {At: sampleTime},
			}, e.Consents)
			require.Empty(t, e.Email)
		case customer.AddressChanged:
			require.Equal(t, customer.Address{ID: sampleHome}, e.Address)
		case customer.ConsentGranted:
			require.Equal(t, customer.ConsentGranted{At: e.At, Channel: customer.ChannelSMS}, e)
		case customer.Suspended:
			require.Empty(t, e.Reason)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	_, err := codec.Encode(nil, Place{}, bound{})
	require.ErrorIs(t, err, ErrUnknownType)
	for _, at := range []time.Time{sampleTime.Add(time.Nanosecond), sampleTime.In(time.FixedZone("", 3600))} {
		_, err = codec.Encode(customer.Deleted{At: customer.At{Time: at}}, Place{}, bound{})
		require.ErrorContains(t, err, "microseconds")
	}
	_, err = codec.Encode(customer.Renamed{At: customer.At{Time: sampleTime}}, Place{}, nil)
	require.ErrorContains(t, err, "no key")
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	codec := NewCodec()
	env, err := codec.Encode(samples()["customer.address_added.v1"], samplePlace(), bound{})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		change func(*Envelope)
		want   error
	}{
		"unknown type":        {func(e *Envelope) { e.Type = "customer.cloned" }, ErrUnknownType},
		"newer schema":        {func(e *Envelope) { e.SchemaVersion = 2 }, ErrUnknownSchema},
		"schema zero":         {func(e *Envelope) { e.SchemaVersion = 0 }, ErrUnknownSchema},
		"another type":        {func(e *Envelope) { e.Type = "customer.address_changed" }, ErrCorrupt},
		"another customer":    {func(e *Envelope) { e.CustomerID = uuid.Must(uuid.NewV7()) }, ErrCorrupt},
		"another event":       {func(e *Envelope) { e.EventID = uuid.Must(uuid.NewV7()) }, ErrCorrupt},
		"another version":     {func(e *Envelope) { e.Version++ }, ErrCorrupt},
		"cut":                 {func(e *Envelope) { e.Personal = e.Personal[:len(e.Personal)-1] }, ErrCorrupt},
		"empty":               {func(e *Envelope) { e.Personal = []byte{} }, ErrCorrupt},
		"no data":             {func(e *Envelope) { e.Data = nil }, ErrCorrupt},
		"data is null":        {func(e *Envelope) { e.Data = json.RawMessage("null") }, ErrCorrupt},
		"data of wrong types": {func(e *Envelope) { e.Data = json.RawMessage(`{"address_id":1}`) }, ErrCorrupt},
		"personal where none belongs": {func(e *Envelope) {
			e.Type, e.Personal = "customer.deleted", nil
			e.Personal, _ = bound{}.Seal([]byte("{}"), associated(*e))
		}, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := env
			test.change(&changed)
			_, err := codec.Decode(changed, bound{})
			require.ErrorIs(t, err, test.want)
			require.NotContains(t, err.Error(), "Rivoli")
		})
	}
}

// TestUpcasterChain invents two older versions of renamed: version 1 had one
// string, version 2 had the names under other keys.
func TestUpcasterChain(t *testing.T) {
	t.Parallel()
	all := schemas()
	for i := range all {
		if all[i].name == "customer.renamed" {
			all[i].version = 3
		}
	}
	first := func(data, personal []byte) ([]byte, []byte, error) {
		if personal == nil {
			return data, nil, nil
		}
		var old struct{ Name string }
		if err := json.Unmarshal(personal, &old); err != nil {
			return nil, nil, errors.New("not version 1")
		}
		given, family, _ := strings.Cut(old.Name, " ")
		personal, err := json.Marshal(map[string]string{"given": given, "family": family})
		return data, personal, err
	}
	second := func(data, personal []byte) ([]byte, []byte, error) {
		personal = bytes.ReplaceAll(personal, []byte(`"given"`), []byte(`"first_name"`))
		return data, bytes.ReplaceAll(personal, []byte(`"family"`), []byte(`"last_name"`)), nil
	}
	steps := map[step]Upcaster{{"customer.renamed", 1}: first}
	_, err := newCodec(all, steps)
	require.ErrorContains(t, err, "nothing leads from version 2 to 3")

	steps[step{"customer.renamed", 2}] = second
	codec, err := newCodec(all, steps)
	require.NoError(t, err)
	old := Envelope{
		Type: "customer.renamed", SchemaVersion: 1, Data: json.RawMessage(`{"changed":["name"]}`),
		Personal: []byte(`{"name":"Zoë Đặng"}`), RecordedAt: sampleTime,
	}
	got, err := codec.Decode(old, unsealed{})
	require.NoError(t, err)
	require.Equal(t, customer.Renamed{At: customer.At{Time: sampleTime}, FirstName: "Zoë", LastName: "Đặng"}, got.Event)

	got, err = codec.Decode(old, nil)
	require.NoError(t, err)
	require.Equal(t, customer.Renamed{At: customer.At{Time: sampleTime}}, got.Event)
	require.True(t, got.Shredded)

	old.Personal = []byte(`[]`)
	_, err = codec.Decode(old, unsealed{})
	require.ErrorIs(t, err, ErrCorrupt)
}

func FuzzDecode(f *testing.F) {
	codec := NewCodec()
	for _, e := range samples() {
		env, err := codec.Encode(e, Place{}, unsealed{})
		require.NoError(f, err)
		f.Add(env.Type, env.SchemaVersion, []byte(env.Data), env.Personal)
	}
	f.Fuzz(func(t *testing.T, kind string, version int16, data, personal []byte) {
		env := Envelope{Type: kind, SchemaVersion: version, Data: data, Personal: personal, RecordedAt: sampleTime}
		for _, key := range []Opener{unsealed{}, nil} {
			got, err := codec.Decode(env, key)
			if err != nil {
				require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnknownType) || errors.Is(err, ErrUnknownSchema), "%v", err)
				continue
			}
			_ = customer.State{}.Evolve(got.Event)
			// What was read is written and read back the same.
			again, err := codec.Encode(got.Event, Place{}, unsealed{})
			require.NoError(t, err)
			second, err := codec.Decode(again, unsealed{})
			require.NoError(t, err)
			third, err := codec.Encode(second.Event, Place{}, unsealed{})
			require.NoError(t, err)
			require.Equal(t, again, third)
		}
	})
}

// stringsIn returns every string in v, keys of maps included.
func stringsIn(v reflect.Value) []string {
	var out []string
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Struct:
		for i := range v.NumField() {
			out = append(out, stringsIn(v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, stringsIn(v.Index(i))...)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			out = append(append(out, stringsIn(k)...), stringsIn(v.MapIndex(k))...)
		}
	}
	return out
}
