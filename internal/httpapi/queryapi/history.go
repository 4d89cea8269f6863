package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// GetHistory is not served yet.
func (*server) GetHistory(context.Context, GetHistoryRequestObject) (GetHistoryResponseObject, error) {
	return nil, httpapi.Refuse(api.RouteNotFound, "")
}
