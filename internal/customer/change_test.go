package customer

import (
	"fmt"
	"testing"
)

func TestApply(t *testing.T) {
	t.Parallel()
	full := Registered{
		FirstName: "Ada", LastName: "Lovelace", Email: "ada@example.com", Phone: "+14155552671", Locale: "en-GB", ExternalID: "crm-1",
		Metadata: map[string]string{"plan": "gold", "seat": "1"},
	}
	fifty := map[string]string{}
	for i := range 50 {
		fifty[fmt.Sprint(i)] = "x"
	}
	for name, spec := range map[string]*specification{
		"nothing asked": given(full).when(change(Change{})).thenNothing(),
		"nothing new": given(full).when(change(Change{
			FirstName: ptr(Name("Ada")), Email: ptr(Email("ada@example.com")), Phone: ptr(Phone("+14155552671")), Locale: ptr(Locale("en-GB")),
			ExternalID: ptr(ExternalID("crm-1")), Metadata: &MetadataChange{Set: map[string]string{"plan": "gold"}, Remove: []string{"none"}},
		})).thenNothing(),
		"everything, in order": given(full).when(change(Change{
			FirstName: ptr(Name("Augusta")), LastName: ptr(Name("King")), Email: ptr(Email("king@example.com")), Phone: ptr(Phone("+442079460000")),
			Locale: ptr(Locale("fr")), ExternalID: ptr(ExternalID("crm-2")), Metadata: &MetadataChange{Set: map[string]string{"plan": "lead"}, Remove: []string{"seat"}},
		})).then(
			Renamed{FirstName: "Augusta", LastName: "King"}, EmailChanged{Email: "king@example.com"}, PhoneChanged{Phone: "+442079460000"},
			LocaleChanged{Locale: "fr"}, ExternalIDChanged{ExternalID: "crm-2"}, MetadataChanged{Set: map[string]string{"plan": "lead"}, Removed: []string{"seat"}},
		),
		"what is optional goes": given(full).when(change(Change{
			LastName: ptr(Name("")), Phone: ptr(Phone("")), Locale: ptr(Locale("")), ExternalID: ptr(ExternalID("")), Metadata: &MetadataChange{Clear: true},
		})).then(
			Renamed{FirstName: "Ada"}, PhoneChanged{}, LocaleChanged{}, ExternalIDChanged{}, MetadataChanged{Removed: []string{"plan", "seat"}},
		),
		"one name alone keeps the other": given(full).when(change(Change{FirstName: ptr(Name("Augusta"))})).then(Renamed{FirstName: "Augusta", LastName: "Lovelace"}),
		"another spelling of the e-mail": given(full).when(change(Change{Email: ptr(Email("Ada@example.com"))})).then(EmailChanged{Email: "Ada@example.com"}),
		"cleared and set at once": given(full).when(change(Change{Metadata: &MetadataChange{Clear: true, Set: map[string]string{"plan": "gold", "new": ""}}})).
			then(MetadataChanged{Set: map[string]string{"new": ""}, Removed: []string{"seat"}}),
		"set has the last word": given(full).when(change(Change{Metadata: &MetadataChange{Set: map[string]string{"plan": "tin"}, Remove: []string{"plan"}}})).
			then(MetadataChanged{Set: map[string]string{"plan": "tin"}}),
		"the suspended can change": given(full, Suspended{}).when(change(Change{Locale: ptr(Locale("fr"))})).then(LocaleChanged{Locale: "fr"}),

		"both names gone":    given(full).when(change(Change{FirstName: ptr(Name("")), LastName: ptr(Name(""))})).thenErr(broken("/first_name", CodeRequired)),
		"the only name gone": given(Registered{LastName: "X", Email: "a@b.c"}).when(change(Change{LastName: ptr(Name(""))})).thenErr(broken("/last_name", CodeRequired)),
		"e-mail gone":        given(full).when(change(Change{Email: ptr(Email("")), Phone: ptr(Phone(""))})).thenErr(broken("/email", CodeRequired)),
		"51 keys":            given(full).when(change(Change{Metadata: &MetadataChange{Set: fifty}})).thenErr(broken("/metadata", CodeTooMany)),
		"a 51st key": given(Registered{Email: "a@b.c", Metadata: fifty}).when(change(Change{Metadata: &MetadataChange{Set: map[string]string{"plan": ""}}})).
			thenErr(broken("/metadata", CodeTooMany)),
		"50 keys":             given(Registered{Email: "a@b.c"}).when(change(Change{Metadata: &MetadataChange{Set: fifty}})).then(MetadataChanged{Set: fifty}),
		"another 50 keys":     given(full).when(change(Change{Metadata: &MetadataChange{Clear: true, Set: fifty}})).then(MetadataChanged{Set: fifty, Removed: []string{"plan", "seat"}}),
		"all faults at once":  given(full).when(change(Change{Email: ptr(Email("")), Metadata: &MetadataChange{Set: fifty}})).thenErr(broken("/email", CodeRequired, "/metadata", CodeTooMany)),
		"nobody there":        given().when(change(Change{})).thenErr(ErrNotFound),
		"a deleted customer":  given(full, Deleted{}).when(change(Change{})).thenErr(ErrDeleted),
		"an erased customer":  given(full, Erased{}).when(change(Change{})).thenErr(ErrErased),
		"erased when deleted": given(full, Deleted{}, Erased{}).when(change(Change{})).thenErr(ErrErased),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.run(t)
		})
	}
}
