package query_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

func TestRenderIsTheContract(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	b, err := query.Render(customer.Data{
		ID: uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"), Version: 4, Status: customer.StatusActive,
		FirstName: "Zoë", LastName: "Đặng", Email: "zoe@example.com", Phone: "+14155552671", Locale: "vi-VN", ExternalID: "crm-0042",
		Addresses: []customer.Address{{
			ID: uuid.MustParse("01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11"), Line1: "1 Rue de Rivoli", City: "Paris", PostalCode: "75001", Country: "FR",
			Label: "home", DefaultFor: []customer.AddressUse{customer.UseBilling, customer.UseShipping},
		}},
		Tags: []customer.Tag{"vip"}, Metadata: map[string]string{"plan": "gold"},
		Consents:  map[customer.Channel]customer.Consent{customer.ChannelEmail: {Granted: true, At: at, Source: "checkout", Wording: "yes"}},
		CreatedAt: at, UpdatedAt: at.Add(time.Second).Truncate(time.Second),
	})
	require.NoError(t, err)
	require.Equal(t, `{"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10","version":4,"status":"active",`+
		`"first_name":"Zoë","last_name":"Đặng","email":"zoe@example.com","phone":"+14155552671","locale":"vi-VN","external_id":"crm-0042",`+
		`"addresses":[{"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a11","line1":"1 Rue de Rivoli","line2":"","city":"Paris","state":"",`+
		`"postal_code":"75001","country":"FR","label":"home","default_for":["billing","shipping"]}],`+
		`"tags":["vip"],"metadata":{"plan":"gold"},`+
		`"consents":{"email":{"granted":true,"at":"2026-01-02T03:04:05.000006Z","source":"checkout","wording":"yes"}},`+
		`"created_at":"2026-01-02T03:04:05.000006Z","updated_at":"2026-01-02T03:04:06.000000Z"}`, string(b))
}

func TestRenderShowsWhatIsAbsent(t *testing.T) {
	t.Parallel()
	b, err := query.Render(customer.Data{ID: uuid.Nil, Version: 1, Status: customer.StatusSuspended, FirstName: "Ada", Email: "a@b.example"})
	require.NoError(t, err)
	require.JSONEq(t, `{"id": "00000000-0000-0000-0000-000000000000", "version": 1, "status": "suspended", "first_name": "Ada",
		"last_name": null, "email": "a@b.example", "phone": null, "locale": null, "external_id": null, "addresses": [], "tags": [],
		"metadata": {}, "consents": {}, "created_at": "0001-01-01T00:00:00.000000Z", "updated_at": "0001-01-01T00:00:00.000000Z"}`, string(b))
}

func TestParseLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := data().Draw(t, "data")
		b, err := query.Render(d)
		require.NoError(t, err)
		require.True(t, json.Valid(b))
		back, err := query.Parse(b)
		require.NoError(t, err)
		require.Equal(t, d, back)
	})
}

func data() *rapid.Generator[customer.Data] {
	text := rapid.StringN(0, 20, -1)
	at := rapid.Map(rapid.Int64Range(0, 4e15), func(us int64) time.Time { return time.UnixMicro(us).UTC() })
	id := rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) uuid.UUID { return uuid.UUID(b) })
	return rapid.Custom(func(t *rapid.T) customer.Data {
		d := customer.Data{
			ID: id.Draw(t, "id"), Version: customer.Version(rapid.Int64Min(1).Draw(t, "version")),
			Status:    rapid.SampledFrom([]customer.Status{customer.StatusActive, customer.StatusSuspended, customer.StatusDeleted}).Draw(t, "status"),
			FirstName: customer.Name(text.Draw(t, "first")), LastName: customer.Name(text.Draw(t, "last")),
			Email: customer.Email(text.Draw(t, "email")), Phone: customer.Phone(text.Draw(t, "phone")),
			Locale: customer.Locale(text.Draw(t, "locale")), ExternalID: customer.ExternalID(text.Draw(t, "external")),
			CreatedAt: at.Draw(t, "created"), UpdatedAt: at.Draw(t, "updated"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "addresses") {
			d.Addresses = append(d.Addresses, customer.Address{
				ID: id.Draw(t, "address"), Line1: text.Draw(t, "line1"), Line2: text.Draw(t, "line2"), City: text.Draw(t, "city"),
				State: text.Draw(t, "state"), PostalCode: text.Draw(t, "code"), Country: "FR", Label: text.Draw(t, "label"),
				DefaultFor: rapid.SampledFrom([][]customer.AddressUse{nil, {customer.UseBilling}, {customer.UseBilling, customer.UseShipping}}).Draw(t, "uses"),
			})
		}
		for range rapid.IntRange(0, 3).Draw(t, "tags") {
			d.Tags = append(d.Tags, customer.Tag(text.Draw(t, "tag")))
		}
		if m := rapid.MapOfN(text, text, 0, 3).Draw(t, "metadata"); len(m) > 0 {
			d.Metadata = m
		}
		if rapid.Bool().Draw(t, "consented") {
			d.Consents = map[customer.Channel]customer.Consent{customer.ChannelSMS: {
				Granted: rapid.Bool().Draw(t, "granted"), At: at.Draw(t, "at"), Source: text.Draw(t, "source"), Wording: text.Draw(t, "wording"),
			}}
		}
		return d
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"}`))
	f.Add([]byte(`{} {}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := query.Parse(b); err != nil {
			require.ErrorIs(t, err, query.ErrDocument)
		}
	})
}
