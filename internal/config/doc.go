// Package config says what each process can be told: one struct per process, from
// which flags, environment variables and --help come. A flag beats its
// variable, a variable beats the default.
//
// It checks what it can without touching anything else, reports every fault at
// once, and never prints a secret. It must not know what the settings are for.
package config
