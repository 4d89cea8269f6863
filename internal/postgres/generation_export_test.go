package postgres

// DerivedTables names the tables that a rebuild makes anew.
func DerivedTables() (names []string) {
	for _, t := range derivedTables() {
		names = append(names, t.name)
	}
	return names
}
