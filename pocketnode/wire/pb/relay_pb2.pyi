from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayFrame(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[GatewayMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[GatewayMessage, _Mapping]]] = ...) -> None: ...

class GatewayMessage(_message.Message):
    __slots__ = ("open", "request", "chunk", "credit", "cancel", "close", "lane")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    open: Open
    request: Request
    chunk: Chunk
    credit: Credit
    cancel: Cancel
    close: Close
    lane: int
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., request: _Optional[_Union[Request, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., lane: _Optional[int] = ...) -> None: ...

class SupplierFrame(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[SupplierMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[SupplierMessage, _Mapping]]] = ...) -> None: ...

class SupplierMessage(_message.Message):
    __slots__ = ("opened", "answer", "chunk", "done", "need_hold", "closed", "lane")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    NEED_HOLD_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    answer: Answer
    chunk: Chunk
    done: Done
    need_hold: NeedHold
    closed: Closed
    lane: int
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., need_hold: _Optional[_Union[NeedHold, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ..., lane: _Optional[int] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("version", "application", "service", "session", "supplier", "gateway", "lane", "records")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SUPPLIER_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    version: int
    application: bytes
    service: bytes
    session: int
    supplier: bytes
    gateway: bytes
    lane: bytes
    records: str
    def __init__(self, version: _Optional[int] = ..., application: _Optional[bytes] = ..., service: _Optional[bytes] = ..., session: _Optional[int] = ..., supplier: _Optional[bytes] = ..., gateway: _Optional[bytes] = ..., lane: _Optional[bytes] = ..., records: _Optional[str] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("seq", "total", "hold", "signature", "request", "head", "body", "more")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    total: int
    hold: int
    signature: bytes
    request: bytes
    head: bytes
    body: bytes
    more: bool
    def __init__(self, seq: _Optional[int] = ..., total: _Optional[int] = ..., hold: _Optional[int] = ..., signature: _Optional[bytes] = ..., request: _Optional[bytes] = ..., head: _Optional[bytes] = ..., body: _Optional[bytes] = ..., more: _Optional[bool] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("seq", "body", "more")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    body: bytes
    more: bool
    def __init__(self, seq: _Optional[int] = ..., body: _Optional[bytes] = ..., more: _Optional[bool] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("seq", "total", "hold", "signature")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    total: int
    hold: int
    signature: bytes
    def __init__(self, seq: _Optional[int] = ..., total: _Optional[int] = ..., hold: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("credit_limit", "max_in_flight", "max_request")
    CREDIT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_FIELD_NUMBER: _ClassVar[int]
    credit_limit: int
    max_in_flight: int
    max_request: int
    def __init__(self, credit_limit: _Optional[int] = ..., max_in_flight: _Optional[int] = ..., max_request: _Optional[int] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("seq", "head", "body")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    seq: int
    head: bytes
    body: bytes
    def __init__(self, seq: _Optional[int] = ..., head: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("seq", "units", "first_byte_ms", "done_ms", "backend", "signature", "fault")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_MS_FIELD_NUMBER: _ClassVar[int]
    DONE_MS_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    units: int
    first_byte_ms: int
    done_ms: int
    backend: bytes
    signature: bytes
    fault: str
    def __init__(self, seq: _Optional[int] = ..., units: _Optional[int] = ..., first_byte_ms: _Optional[int] = ..., done_ms: _Optional[int] = ..., backend: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., fault: _Optional[str] = ...) -> None: ...

class NeedHold(_message.Message):
    __slots__ = ("seq", "units")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    units: int
    def __init__(self, seq: _Optional[int] = ..., units: _Optional[int] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Closed(_message.Message):
    __slots__ = ("rule", "message")
    RULE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    rule: str
    message: str
    def __init__(self, rule: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
