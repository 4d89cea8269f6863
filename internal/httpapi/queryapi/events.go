package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// GetEvents is not served yet.
func (*server) GetEvents(context.Context, GetEventsRequestObject) (GetEventsResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
