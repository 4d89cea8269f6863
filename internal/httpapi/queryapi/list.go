package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// ListCustomers is not served yet.
func (*server) ListCustomers(context.Context, ListCustomersRequestObject) (ListCustomersResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
