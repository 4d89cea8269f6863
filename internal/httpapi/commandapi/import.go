package commandapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// ImportCustomers answers that it cannot, for now.
func (s *server) ImportCustomers(context.Context, ImportCustomersRequestObject) (ImportCustomersResponseObject, error) {
	return nil, httpapi.Refuse(api.Unavailable, "")
}
