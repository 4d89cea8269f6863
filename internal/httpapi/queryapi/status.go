package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// GetStatus is not served yet.
func (*server) GetStatus(context.Context, GetStatusRequestObject) (GetStatusResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
