// Package reliability is the proof of the service's promises: a cluster under
// load and faults, held to everything that it promised. `make faults` runs it
// and docs/reliability.md says what it shows. A run is a few steps and each has
// a package of its own: workload, history, chaos, audit and report.
package reliability
