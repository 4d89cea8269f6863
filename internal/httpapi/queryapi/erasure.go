package queryapi

import (
	"context"

	"github.com/ebrahem-outlook/customer-service/api"
	"github.com/ebrahem-outlook/customer-service/internal/httpapi"
)

// GetErasure answers that it cannot, for now.
func (s *server) GetErasure(context.Context, GetErasureRequestObject) (GetErasureResponseObject, error) {
	return nil, httpapi.Refuse(api.Unavailable, "")
}
