package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// SearchCustomers is not served yet.
func (*server) SearchCustomers(context.Context, SearchCustomersRequestObject) (SearchCustomersResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
