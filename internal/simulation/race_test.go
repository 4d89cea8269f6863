//go:build race

package simulation_test

// usually is how many seeds a test runs. One run goes on at a time in each
// world, so the race detector, which makes it ten times slower, finds little.
const usually = 100
