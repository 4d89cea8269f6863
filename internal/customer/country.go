package customer

import (
	"strings"

	"golang.org/x/text/language"
)

// ParseCountry parses an ISO 3166-1 alpha-2 code that is officially assigned:
// 249 of them, so not UK, EU or XK. Lower case is taken and kept in upper.
func ParseCountry(text string) (Country, error) {
	out, err := normal(text)
	if err != nil {
		return "", err
	}
	if out == "" {
		return "", &ValueError{Code: CodeRequired, Detail: "is required"}
	}
	if len(out) != 2 {
		return "", &ValueError{Code: CodeInvalidCountry, Detail: "is not an ISO 3166-1 alpha-2 code"}
	}
	code := strings.ToUpper(out)
	if !isAssignedCountry(code) {
		return "", &ValueError{Code: CodeInvalidCountry, Detail: "is not an ISO 3166-1 alpha-2 code"}
	}
	return Country(code), nil
}

// isAssignedCountry tells the codes that ISO assigns officially. The list is
// x/text's, which follows CLDR: that also has codes which ISO keeps free for
// others (AC, DG, EU, UK), has withdrawn (AN, YU) or leaves to its users (XK).
// A parcel sent there would be sent to a country that a carrier does not know.
func isAssignedCountry(code string) bool {
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() || region.Canonicalize().String() != code {
		return false
	}
	switch code {
	case
		"AC", "CP", "CQ", "DG", "EA", "IC", "TA", // exceptionally reserved
		"EZ", "UN", // so too, and no countries
		"AN", "CS", "FQ", "NT", "PC", "SU", "YU", // withdrawn
		"XK": // user-assigned
		return false
	}
	return true
}
