from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ("study", "last_reply", "offer", "run", "nonce")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    LAST_REPLY_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    study: str
    last_reply: bytes
    offer: bytes
    run: str
    nonce: str
    def __init__(self, study: _Optional[str] = ..., last_reply: _Optional[bytes] = ..., offer: _Optional[bytes] = ..., run: _Optional[str] = ..., nonce: _Optional[str] = ...) -> None: ...

class DescribeAnswer(_message.Message):
    __slots__ = ("approval", "refusal", "run_answer", "rejection", "question")
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    RUN_ANSWER_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    approval: bytes
    refusal: bytes
    run_answer: bytes
    rejection: bytes
    question: bytes
    def __init__(self, approval: _Optional[bytes] = ..., refusal: _Optional[bytes] = ..., run_answer: _Optional[bytes] = ..., rejection: _Optional[bytes] = ..., question: _Optional[bytes] = ...) -> None: ...

class RecallRequest(_message.Message):
    __slots__ = ("questions", "memories")
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    questions: _containers.RepeatedScalarFieldContainer[bytes]
    memories: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, questions: _Optional[_Iterable[bytes]] = ..., memories: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Memories(_message.Message):
    __slots__ = ("memories",)
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    memories: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, memories: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RecallAnswer(_message.Message):
    __slots__ = ("remembered", "refusal")
    REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    remembered: Memories
    refusal: bytes
    def __init__(self, remembered: _Optional[_Union[Memories, _Mapping]] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class OpenRunRequest(_message.Message):
    __slots__ = ("opening", "approvals", "answers")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    opening: bytes
    approvals: _containers.RepeatedScalarFieldContainer[bytes]
    answers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, opening: _Optional[bytes] = ..., approvals: _Optional[_Iterable[bytes]] = ..., answers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class OpenRunAnswer(_message.Message):
    __slots__ = ("offer", "refusal")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    offer: bytes
    refusal: bytes
    def __init__(self, offer: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class AgreeRequest(_message.Message):
    __slots__ = ("study", "run", "offers")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    study: str
    run: str
    offers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, study: _Optional[str] = ..., run: _Optional[str] = ..., offers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class AgreeAnswer(_message.Message):
    __slots__ = ("agreed", "refusal")
    AGREED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    agreed: bytes
    refusal: bytes
    def __init__(self, agreed: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("request", "parameters", "last_request", "last_replies", "last_vectors", "last_statements")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    LAST_REQUEST_FIELD_NUMBER: _ClassVar[int]
    LAST_REPLIES_FIELD_NUMBER: _ClassVar[int]
    LAST_VECTORS_FIELD_NUMBER: _ClassVar[int]
    LAST_STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    parameters: bytes
    last_request: bytes
    last_replies: _containers.RepeatedScalarFieldContainer[bytes]
    last_vectors: _containers.RepeatedScalarFieldContainer[bytes]
    last_statements: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request: _Optional[bytes] = ..., parameters: _Optional[bytes] = ..., last_request: _Optional[bytes] = ..., last_replies: _Optional[_Iterable[bytes]] = ..., last_vectors: _Optional[_Iterable[bytes]] = ..., last_statements: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CommitmentAndVector(_message.Message):
    __slots__ = ("commitment", "vector")
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    commitment: bytes
    vector: bytes
    def __init__(self, commitment: _Optional[bytes] = ..., vector: _Optional[bytes] = ...) -> None: ...

class ReleaseAnswer(_message.Message):
    __slots__ = ("committed", "refusal")
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    committed: CommitmentAndVector
    refusal: bytes
    def __init__(self, committed: _Optional[_Union[CommitmentAndVector, _Mapping]] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class RevealRequest(_message.Message):
    __slots__ = ("request", "statements")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    statements: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request: _Optional[bytes] = ..., statements: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RevealAnswer(_message.Message):
    __slots__ = ("reply", "refusal")
    REPLY_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    reply: bytes
    refusal: bytes
    def __init__(self, reply: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("request", "replies", "vectors", "statements")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    replies: _containers.RepeatedScalarFieldContainer[bytes]
    vectors: _containers.RepeatedScalarFieldContainer[bytes]
    statements: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, request: _Optional[bytes] = ..., replies: _Optional[_Iterable[bytes]] = ..., vectors: _Optional[_Iterable[bytes]] = ..., statements: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PublishAnswer(_message.Message):
    __slots__ = ("keys", "refusal")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    keys: bytes
    refusal: bytes
    def __init__(self, keys: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class CosignRequest(_message.Message):
    __slots__ = ("study", "run", "head", "log", "hashes", "vectors")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    study: str
    run: str
    head: bytes
    log: bytes
    hashes: bytes
    vectors: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, study: _Optional[str] = ..., run: _Optional[str] = ..., head: _Optional[bytes] = ..., log: _Optional[bytes] = ..., hashes: _Optional[bytes] = ..., vectors: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CosignAnswer(_message.Message):
    __slots__ = ("cosigned", "refusal")
    COSIGNED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    cosigned: bytes
    refusal: bytes
    def __init__(self, cosigned: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...

class DeliverRequest(_message.Message):
    __slots__ = ("delivery", "model", "card")
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    delivery: bytes
    model: bytes
    card: bytes
    def __init__(self, delivery: _Optional[bytes] = ..., model: _Optional[bytes] = ..., card: _Optional[bytes] = ...) -> None: ...

class DeliverAnswer(_message.Message):
    __slots__ = ("received", "refusal")
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    received: bytes
    refusal: bytes
    def __init__(self, received: _Optional[bytes] = ..., refusal: _Optional[bytes] = ...) -> None: ...
