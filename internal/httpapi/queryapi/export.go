package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// ExportCustomers is not served yet.
func (*server) ExportCustomers(context.Context, ExportCustomersRequestObject) (ExportCustomersResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
