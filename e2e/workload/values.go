package workload

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The values are few and plain where clients shall meet, and new each time
// where an answer shall tell which command it shows.

func firstNames() []string {
	return []string{"Ada", "Zoë", "Đặng", "Grace", "José", "Łukasz", "Søren", "Mei"}
}

func lastNames() []string {
	return []string{"Lovelace", "Hopper", "Nguyễn", "Ångström", "O'Neill", "Müller", "Santos", "Kowalski"}
}

func locales() []string { return []string{"en-GB", "de-DE", "vi-VN", "pt-BR"} }

func channels() []string { return []string{"email", "sms", "phone", "post"} }

func tags() []string {
	return []string{"vip", "newsletter", "b2b", "trial", "churned", "beta", "gold", "silver", "press", "staff", "eu", "us"}
}

// unique is a short word that no other has, of the client's own counting.
func (c *client) unique() string {
	c.words++
	return strconv.Itoa(c.number) + "x" + strconv.FormatInt(c.words, 36)
}

func (c *client) ownEmail() string {
	return fmt.Sprintf("c%s.%s@example.com", c.unique(), c.w.world.seed)
}

// ownTag is the tag of those that this client registered lately: so many that a
// walk over them has some pages and an end.
func (c *client) ownTag() string { return fmt.Sprintf("c%d-%d", c.number, c.registered/120) }

func lastName(in *intent, i int, word string) string {
	return lastNames()[in.choose(i, len(lastNames()))] + " " + word
}

func phone(in *intent, i int) string { return "+1415555267" + strconv.Itoa(in.choose(i, 10)) }

// variant writes an address in one of the ways that are the same address.
func variant(email string, in *intent, i int) string {
	if in.choose(i, 3) == 0 {
		return strings.ToUpper(email[:1]) + email[1:]
	}
	return email
}

type fields map[string]any

func (f fields) json() []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings, numbers and maps of them
	}
	return text
}

// registration is the body of one, with the given e-mail address.
func (c *client) registration(in *intent, email string) fields {
	word := c.unique()
	f := fields{
		"first_name": firstNames()[in.choose(4, len(firstNames()))], "last_name": lastName(in, 5, word),
		"email": variant(email, in, 6), "tags": []string{c.ownTag(), tags()[in.choose(5, len(tags()))]},
	}
	if in.choose(7, 2) == 0 {
		f["external_id"] = "x-" + word + "." + c.w.world.seed
	}
	if in.choose(6, 4) == 0 {
		f["phone"], f["metadata"] = phone(in, 5), map[string]string{"plan": "gold", "word": word}
		f["addresses"] = []fields{c.postal(in)}
		f["consents"] = map[string]fields{"email": {"granted": true, "source": "checkout", "wording": "Send me news"}}
	}
	return f
}

func (c *client) postal(in *intent) fields {
	f := fields{
		"line1": fmt.Sprintf("%d Rue de Rivoli", 1+in.choose(4, 200)), "city": "Paris",
		"postal_code": fmt.Sprintf("750%02d", 1+in.choose(5, 20)), "country": "FR", "label": "home " + c.unique(),
	}
	if in.choose(6, 3) == 0 {
		f["default_for"] = []string{"shipping"}
	}
	return f
}

// patch is the body of a change, one of many kinds.
func (c *client) patch(in *intent, now look) (f fields, email string) {
	word := c.unique()
	switch in.choose(4, 12) {
	case 0, 1, 2:
		return fields{"last_name": lastName(in, 5, word)}, ""
	case 3:
		return fields{"first_name": firstNames()[in.choose(5, len(firstNames()))], "last_name": lastName(in, 6, word)}, ""
	case 4:
		return fields{"phone": phone(in, 5)}, ""
	case 5:
		return fields{"phone": nil, "metadata": map[string]any{"word": nil}}, ""
	case 6:
		return fields{"locale": locales()[in.choose(5, len(locales()))]}, ""
	case 7:
		return fields{"metadata": map[string]any{"word": word, fmt.Sprint("k", in.choose(5, 8)): "v"}}, ""
	case 8:
		email = c.ownEmail()
		return fields{"email": email, "last_name": lastName(in, 5, word)}, email
	case 9:
		return fields{"external_id": fmt.Sprintf("wanted-%02d.%s", in.choose(5, contendedIDs), c.w.world.seed)}, ""
	case 10:
		if now.lastName != "" {
			return fields{"last_name": now.lastName}, "" // nothing new, unless it changed meanwhile
		}
		return fields{"external_id": nil}, ""
	default:
		return fields{"external_id": nil, "last_name": lastName(in, 5, word)}, ""
	}
}
