from edge import errors as errors
from edge.api.recognizer import Recognizer as Recognizer
from edge.api.results import Event as Event
from edge.api.results import Sign as Sign
from edge.api.results import Signs as Signs
from edge.errors import BundleError as BundleError
from edge.errors import DataError as DataError
from edge.errors import EngineError as EngineError
from edge.errors import InputError as InputError
from edge.errors import MachineError as MachineError
from edge.errors import MissingDependency as MissingDependency
from edge.errors import OutputError as OutputError
from edge.errors import SignwingError as SignwingError
from edge.errors import SourceError as SourceError
from edge.errors import VerificationError as VerificationError
from edge.geometry.pose import Pose as Pose

__version__: str
