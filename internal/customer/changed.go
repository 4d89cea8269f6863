package customer

// Changed names, sorted and as the HTTP contract calls them, the fields that e
// changes: what other services are told of an event, which is no value.
func Changed(e Event) []string {
	switch e := e.(type) {
	case Registered:
		return e.fields()
	case Renamed:
		return []string{"first_name", "last_name"}
	case EmailChanged:
		return []string{"email"}
	case PhoneChanged:
		return []string{"phone"}
	case LocaleChanged:
		return []string{"locale"}
	case ExternalIDChanged:
		return []string{"external_id"}
	case AddressAdded, AddressChanged, AddressRemoved:
		return []string{"addresses"}
	case Tagged, Untagged:
		return []string{"tags"}
	case MetadataChanged:
		return []string{"metadata"}
	case ConsentGranted, ConsentWithdrawn:
		return []string{"consents"}
	case Suspended, Reinstated, Deleted, Restored:
		return []string{"status"}
	case Erased:
		// Whatever the customer had is gone, and whoever keeps a copy of any of
		// it has to hear so.
		return []string{
			"addresses", "consents", "email", "external_id", "first_name", "last_name",
			"locale", "metadata", "phone", "status", "tags",
		}
	default:
		return nil
	}
}

// fields are those the registration gave a value, beside the status that
// every customer begins with.
func (e Registered) fields() []string {
	out := make([]string, 0, 11)
	for _, field := range [...]struct {
		name string
		set  bool
	}{ // sorted by name
		{"addresses", len(e.Addresses) > 0},
		{"consents", len(e.Consents) > 0},
		{"email", e.Email != ""},
		{"external_id", e.ExternalID != ""},
		{"first_name", e.FirstName != ""},
		{"last_name", e.LastName != ""},
		{"locale", e.Locale != ""},
		{"metadata", len(e.Metadata) > 0},
		{"phone", e.Phone != ""},
		{"status", true},
		{"tags", len(e.Tags) > 0},
	} {
		if field.set {
			out = append(out, field.name)
		}
	}
	return out
}
