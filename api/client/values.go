package client

import "github.com/oapi-codegen/nullable"

// Set is a field with a value, as in client.Registration{FirstName: client.Set("Zoë")}.
func Set[T any](v T) nullable.Nullable[T] { return nullable.NewNullableWithValue(v) }

// Remove is a field that a change removes: null. One left alone is not named.
func Remove[T any]() nullable.Nullable[T] { return nullable.NewNullNullable[T]() }
