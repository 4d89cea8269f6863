// Package e2e drives the three real processes from outside, on real
// PostgreSQL, RabbitMQ and Redis, and checks what the service promises. It is
// a module of its own so that heavy test dependencies stay out of the product.
package e2e
