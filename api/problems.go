package api

import "net/http"

// Code names one kind of problem. It is the last segment of the problem's type
// and what clients branch on.
type Code string

// The codes there are. Once released, a code never changes its meaning.
const (
	MalformedJSON         Code = "malformed-json"
	MalformedRequest      Code = "malformed-request"
	InvalidParameter      Code = "invalid-parameter"
	InvalidCursor         Code = "invalid-cursor"
	InvalidToken          Code = "invalid-token"
	InvalidIdempotencyKey Code = "invalid-idempotency-key"
	InvalidIfMatch        Code = "invalid-if-match"
	Unauthenticated       Code = "unauthenticated"
	Forbidden             Code = "forbidden"
	CustomerNotFound      Code = "customer-not-found"
	AddressNotFound       Code = "address-not-found"
	RouteNotFound         Code = "route-not-found"
	MethodNotAllowed      Code = "method-not-allowed"
	NotAcceptable         Code = "not-acceptable"
	RequestTimeout        Code = "request-timeout"
	EmailTaken            Code = "email-taken"
	ExternalIDTaken       Code = "external-id-taken"
	StateConflict         Code = "state-conflict"
	IdempotencyInFlight   Code = "idempotency-in-flight"
	CustomerDeleted       Code = "customer-deleted"
	CustomerErased        Code = "customer-erased"
	VersionMismatch       Code = "version-mismatch"
	BodyTooLarge          Code = "body-too-large"
	UnsupportedMediaType  Code = "unsupported-media-type"
	ValidationFailed      Code = "validation-failed"
	IdempotencyKeyReused  Code = "idempotency-key-reused"
	TooManyRequests       Code = "too-many-requests"
	Overloaded            Code = "overloaded"
	Unavailable           Code = "unavailable"
	ReadModelBehind       Code = "read-model-behind"
	InternalError         Code = "internal-error"
)

// ProblemType is what all problems of one code have in common.
type ProblemType struct {
	Code   Code
	Status int
	Title  string
	// Advice is the detail of a problem that has nothing more particular to
	// say: what is wrong and what to do next.
	Advice string
}

// URI is the problem's type member.
func (t ProblemType) URI() string { return "/problems/" + string(t.Code) }

// Problems lists every type in the order of the contract.
func Problems() []ProblemType {
	return []ProblemType{
		{
			MalformedJSON, http.StatusBadRequest, "The body is not JSON",
			"Send one JSON object in UTF-8 and nothing else.",
		},
		{
			MalformedRequest, http.StatusBadRequest, "The message cannot be read",
			"A message has either Content-Length or Transfer-Encoding. The connection is closed.",
		},
		{
			InvalidParameter, http.StatusBadRequest, "A parameter is not valid",
			"Send only the parameters and headers that this route documents, each once and well-formed.",
		},
		{
			InvalidCursor, http.StatusBadRequest, "The cursor cannot be used here",
			"Send next_cursor exactly as the page before answered it, with the same filters, sort and principal, or begin anew without it.",
		},
		{
			InvalidToken, http.StatusBadRequest, "A consistency token cannot be read",
			"Send Consistency-Token exactly as a command answered it, at most 8 of them.",
		},
		{
			InvalidIdempotencyKey, http.StatusBadRequest, "The idempotency key cannot be read",
			"Send one Idempotency-Key of 1 to 255 printable ASCII characters, bare or in double quotes.",
		},
		{
			InvalidIfMatch, http.StatusBadRequest, "If-Match cannot be read",
			"If-Match takes quoted entity tags as ETag had them, for example \"3\", or *.",
		},
		{
			Unauthenticated, http.StatusUnauthorized, "Who is asking is not known",
			"Send a valid bearer token in Authorization.",
		},
		{
			Forbidden, http.StatusForbidden, "That is not allowed",
			"Ask for a token with the scope this route documents.",
		},
		{
			CustomerNotFound, http.StatusNotFound, "There is no such customer",
			"Check the id. If a command has just registered the customer, send its Consistency-Token with the read.",
		},
		{
			AddressNotFound, http.StatusNotFound, "There is no such address",
			"Read the customer to see which addresses it has.",
		},
		{
			RouteNotFound, http.StatusNotFound, "There is no such route",
			"The routes of this process are listed in /openapi.json and shown at /docs.",
		},
		{
			MethodNotAllowed, http.StatusMethodNotAllowed, "The method is not allowed here",
			"Use one of the methods that Allow lists.",
		},
		{
			NotAcceptable, http.StatusNotAcceptable, "No acceptable media type",
			"Nothing was done. Let Accept admit the media type this route answers with, or leave it out.",
		},
		{
			RequestTimeout, http.StatusRequestTimeout, "The body did not arrive in time",
			"Nothing was done. Send the request again, faster.",
		},
		{
			EmailTaken, http.StatusConflict, "The e-mail address is in use",
			"Another customer has this e-mail address. Use another one, or change or delete that customer first.",
		},
		{
			ExternalIDTaken, http.StatusConflict, "The external id is in use",
			"Another customer has this external id. Use another one, or change or delete that customer first.",
		},
		{
			StateConflict, http.StatusConflict, "The customer's state does not allow that",
			"Read the customer again and decide anew.",
		},
		{
			IdempotencyInFlight, http.StatusConflict, "The same request is in progress",
			"A request with this idempotency key is being worked on. Repeat it after Retry-After to get its answer.",
		},
		{
			CustomerDeleted, http.StatusGone, "The customer is deleted",
			"A deleted customer is not read, and takes no commands but restore, erase and delete.",
		},
		{
			CustomerErased, http.StatusGone, "The customer is erased",
			"The customer was erased for good; only its erasure record is left.",
		},
		{
			VersionMismatch, http.StatusPreconditionFailed, "The customer has changed",
			"Read the customer again, decide anew and send its ETag as If-Match.",
		},
		{
			BodyTooLarge, http.StatusRequestEntityTooLarge, "The body is too large",
			"A body may have at most 65536 bytes.",
		},
		{
			UnsupportedMediaType, http.StatusUnsupportedMediaType, "The media type is not supported",
			"Send the body as this route documents it, in UTF-8 and without Content-Encoding.",
		},
		{
			ValidationFailed, http.StatusUnprocessableEntity, "The request is not valid",
			"Correct what errors lists and send the request again.",
		},
		{
			IdempotencyKeyReused, http.StatusUnprocessableEntity, "The idempotency key belongs to another request",
			"Use a new key for a new request; a key is repeated only with the very same request.",
		},
		{
			TooManyRequests, http.StatusTooManyRequests, "Too many requests",
			"Slow down, and try again after Retry-After.",
		},
		{
			Overloaded, http.StatusServiceUnavailable, "The service is overloaded",
			"Nothing was done. Try again after Retry-After.",
		},
		{
			Unavailable, http.StatusServiceUnavailable, "The service is not available",
			"Try again after Retry-After. A command may have happened: repeat it with the same Idempotency-Key to be sure of one effect.",
		},
		{
			ReadModelBehind, http.StatusServiceUnavailable, "The read model is behind",
			"What the consistency token names is not readable yet. Try again after Retry-After, or wait longer with Prefer: wait=N.",
		},
		{
			InternalError, http.StatusInternalServerError, "The service failed",
			"This is a fault of the service. Quote trace_id when you report it.",
		},
	}
}
