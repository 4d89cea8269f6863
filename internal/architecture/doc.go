// Package architecture holds no code, only a test: that the packages of the
// service depend on each other in the one direction that docs/architecture.md
// describes. The linter says the same earlier; this holds wherever the tests
// run, and also for what a package imports through another.
package architecture
