module github.com/ebrahem-outlook/customer-service/e2e

go 1.26.0

require (
	github.com/ebrahem-outlook/customer-service v0.0.0
	github.com/google/uuid v1.6.0
	github.com/jackc/pgx/v5 v5.12.0
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sync v0.24.0
)

replace github.com/ebrahem-outlook/customer-service => ../
